// The compressed sound of a video, on its way from one container into another: untouched, or as AAC
// where the other cannot hold it.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"

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

// Codec parameters as words and numbers, to be kept in a file of our own. Names are FFmpeg's; 0 and
// empty mean unknown.
struct AudioDescription {
  std::string codec;
  std::string channel_layout;  // such as "stereo"
  std::string sample_format;   // such as "fltp"
  std::string extradata;       // the codec's own header
  int64_t bit_rate = 0;
  int sample_rate = 0;
  int bits_per_coded_sample = 0;
  int bits_per_raw_sample = 0;
  int profile = 0;
  int level = 0;
  int block_align = 0;
  int frame_size = 0;
  int initial_padding = 0;
  int trailing_padding = 0;
  int seek_preroll = 0;
};

// Of a track that is not empty.
AudioDescription DescribeAudio(const AudioTrack& track);

// Gives `track`, whose packets and time base are there, what is described. kInvalidArgument: that
// is no sound, or MP4 cannot hold it (all of it is tried).
absl::Status RestoreAudio(const AudioDescription& description, AudioTrack* track);

}  // namespace reenact
