// Owners and error texts for FFmpeg's C objects. For the .cc files of this folder only: no public
// header includes it.
#pragma once

extern "C" {
#include <libavcodec/avcodec.h>
#include <libavformat/avformat.h>
#include <libavutil/frame.h>
#include <libavutil/rational.h>
#include <libswscale/swscale.h>
}

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "pipeline/media/audio_track.h"

namespace reenact {

// One deleter for all: FFmpeg's "free" functions differ in name and in how they take their pointer.
struct LibavDeleter {
  void operator()(AVCodecContext* p) const { avcodec_free_context(&p); }
  void operator()(AVPacket* p) const { av_packet_free(&p); }
  void operator()(AVFrame* p) const { av_frame_free(&p); }
  void operator()(SwsContext* p) const { sws_freeContext(p); }
  void operator()(AVCodecParameters* p) const { avcodec_parameters_free(&p); }
  void operator()(AVIOContext* p) const {
    av_freep(&p->buffer);
    avio_context_free(&p);
  }
};
template <typename T>
using LibavPtr = std::unique_ptr<T, LibavDeleter>;

struct AudioParameters {
  LibavPtr<AVCodecParameters> codecpar;
};

// What FFmpeg says of one of its error codes, such as "Invalid data found when processing input".
std::string LibavErrorText(int error);

// `error` as `code` with "DOING: text"; running out of memory is always kResourceExhausted.
absl::Status LibavStatus(int error, absl::StatusCode code, const std::string& doing);

// Whether a time stamp is there and near enough to zero for sums and differences not to overflow:
// damaged files hold any.
inline bool IsPlausibleTime(int64_t time) {
  constexpr int64_t kFar = int64_t{1} << 60;
  return time != AV_NOPTS_VALUE && time > -kFar && time < kFar;
}

// Once per process, before anything else of FFmpeg is called; thread-safe. FFmpeg's own log goes
// nowhere (what matters comes back as a Status), and no single allocation of it may exceed
// kLargestAllocation.
void InitLibav();

// More than any plane of a 16384 x 16384 picture of 8 bits, the largest written, or of a 4K one of
// 16 bits, the largest read by default; far less than a header can claim.
inline constexpr size_t kLargestAllocation = size_t{320} << 20;

// Processor time of one thread, as a limit. Thread-compatible.
class WorkBudget {
 public:
  explicit WorkBudget(double seconds) : seconds_(seconds) { Restart(); }

  void Restart() { start_ = Now(); }
  bool spent() const { return Now() - start_ > seconds_; }
  double seconds() const { return seconds_; }

 private:
  static double Now();  // seconds of the calling thread

  double seconds_;
  double start_ = 0;
};

// Reads a file that is a piece of memory, and nothing else: whatever the container refers to
// outside is refused. The bytes must outlive the demuxer.
class Demuxer {
 public:
  struct Limits {
    int64_t max_pixels;
    int max_streams;
    double max_work_seconds;      // from Open or RestartWork to the next RestartWork
    double max_duration_seconds;  // of sound that is decoded
  };

  static absl::StatusOr<std::unique_ptr<Demuxer>> Open(std::string_view bytes,
                                                       const Limits& limits);
  ~Demuxer();

  AVFormatContext* context() { return context_; }
  // First video track that is no cover picture, first sound track; null if there is none.
  AVStream* video() const { return video_; }
  AVStream* audio() const { return audio_; }

  // What to subtract from times in `time_base`: containers made for broadcasting (MPEG-TS) start
  // their clock anywhere, so times count from the earlier of the two tracks; elsewhere 0.
  int64_t ClockStart(AVRational time_base) const;

  // A bound for decoders, which count whole coding blocks: the limit, and a margin for rounding up.
  int64_t max_coded_pixels() const { return max_coded_pixels_; }

  // Reads a packet as av_read_frame does, except that what cannot be read in between is skipped and
  // counted.
  int ReadPacket(AVPacket& packet, int& num_damaged);

  // Delivers the packets of `stream` only.
  void Select(const AVStream* stream);

  // Reading fails once the budget is spent, so no call goes on much longer than that;
  // CheckWork() then says so (kResourceExhausted, "DOING takes more than ...").
  void RestartWork() { work_.Restart(); }
  absl::Status CheckWork(const std::string& doing) const;

 private:
  explicit Demuxer(const Limits& limits) : work_(limits.max_work_seconds) {}
  static int Read(void* self, uint8_t* buffer, int size);
  static int64_t Seek(void* self, int64_t offset, int whence);

  // In a row; a container that cannot be read on for so long has ended.
  static constexpr int kMaxReadErrors = 100;

  std::string_view bytes_;
  WorkBudget work_;
  int64_t max_coded_pixels_ = 0;
  int num_read_errors_ = 0;  // since the last packet
  size_t position_ = 0;
  LibavPtr<AVIOContext> io_;
  AVFormatContext* context_ = nullptr;
  AVStream* video_ = nullptr;
  AVStream* audio_ = nullptr;
};

// Copies the first sound track of `bytes`; see VideoReader::ReadAudio.
absl::StatusOr<AudioTrack> ReadAudioTrack(std::string_view bytes, const Demuxer::Limits& limits);

// What a caller should hear of packets of sound that were left out; "" for 0.
std::string DamageNote(int num_packets);

// Gives `muxer` one packet of `track`, moved by `shift` (in the track's time base). A negative
// number is FFmpeg's error. `scratch` is a packet to work with; it ends empty.
int WriteAudioPacket(AVFormatContext* muxer, AVStream* stream, const AudioTrack& track,
                     size_t index, int64_t shift, AVPacket* scratch);

// Output into a function; null if there is no memory.
LibavPtr<AVIOContext> OpenSink(void* self, int (*write)(void* self, uint8_t* data, int size));

// Options that VideoWriter and the check whether MP4 can hold a track share.
inline constexpr char kMp4Flags[] = "frag_custom+empty_moov+default_base_moof+delay_moov";

}  // namespace reenact
