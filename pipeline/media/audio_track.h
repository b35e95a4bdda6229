// The compressed sound of a video, on its way from one container into another: untouched, or as AAC
// where the other cannot hold it.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace reenact {

// Codec parameters in the media library's own form; defined and used inside pipeline/media only.
struct AudioParameters;

// One compressed packet. Times are in units of the track's time base, on the time line of the
// video.
struct AudioPacket {
  std::string data;
  int64_t pts = 0;
  int64_t dts = 0;
  int64_t duration = 0;
};

// Plain data, cheap enough to move; copying copies the packets. Empty: there is no sound to copy,
// and `note` says why if there was some to begin with.
struct AudioTrack {
  std::string codec;            // such as "aac"; empty if the video has no sound
  std::string transcoded_from;  // such as "pcm_s16le"; empty: the packets are the video's own
  // Such as "audio codec pcm_s16le does not fit MP4, transcoded to AAC at 48000 Hz"; for the
  // caller.
  std::string note;
  int sample_rate = 0;
  int channels = 0;
  int32_t time_base_num = 0;  // seconds per unit = num / den
  int32_t time_base_den = 1;
  std::shared_ptr<const AudioParameters> parameters;
  std::vector<AudioPacket> packets;  // in decoding order

  bool empty() const { return packets.empty(); }
};

}  // namespace reenact
