#include "pipeline/media/video_writer.h"

#include <algorithm>
#include <limits>
#include <numeric>
#include <utility>

#include "absl/strings/str_cat.h"
#include "pipeline/media/frame_encoder.h"
#include "pipeline/media/libav.h"

namespace reenact {
namespace {

absl::Status CheckOptions(const VideoWriter::Options& options) {
  // H.264's largest level ends at 16384 pixels a side.
  for (const auto& [name, value] :
       {std::pair("width", options.width), std::pair("height", options.height)}) {
    if (value < 2 || value > 16384) {
      return absl::InvalidArgumentError(
          absl::StrCat("output ", name, " is ", value, "; it must be 2 to 16384"));
    }
  }
  if (options.time_base_num < 1 || options.time_base_den < 1) {
    return absl::InvalidArgumentError(absl::StrCat("output time base is ", options.time_base_num,
                                                   "/", options.time_base_den,
                                                   "; both must be positive"));
  }
  if (options.frame_rate_num < 0 || options.frame_rate_den < 1) {
    return absl::InvalidArgumentError(
        absl::StrCat("output frame rate is ", options.frame_rate_num, "/", options.frame_rate_den));
  }
  if (absl::Status status = CheckVideoEncoding(options); !status.ok()) return status;
  if (options.audio.has_value() && !options.audio->empty() &&
      options.audio->parameters == nullptr) {
    return absl::InvalidArgumentError("the audio track has packets but no codec parameters");
  }
  if (options.frames_per_fragment < 1) {
    return absl::InvalidArgumentError(absl::StrCat(
        "frames per fragment is ", options.frames_per_fragment, "; it must be 1 or more"));
  }
  if (options.first_fragment_frames.value_or(1) < 1) {
    return absl::InvalidArgumentError(absl::StrCat("frames in the first fragment is ",
                                                   *options.first_fragment_frames,
                                                   "; it must be 1 or more"));
  }
  return absl::OkStatus();
}

class LibavVideoWriter final : public VideoWriter {
 public:
  explicit LibavVideoWriter(Options options)
      : options_(std::move(options)), time_base_{options_.time_base_num, options_.time_base_den} {
    if (!options_.audio.has_value() || options_.audio->empty()) options_.audio.reset();
  }

  ~LibavVideoWriter() override {
    if (muxer_ == nullptr) return;
    muxer_->pb = nullptr;
    avformat_free_context(muxer_);
  }

  int coded_width() const override { return encoder_->coded_width(); }
  int coded_height() const override { return encoder_->coded_height(); }

  absl::Status Init() {
    InitLibav();
    absl::Status status = OpenEncoder();
    if (status.ok()) status = OpenMuxer();
    return status;
  }

  absl::StatusOr<std::vector<Piece>> Write(const Image& image, int64_t pts,
                                           int64_t duration) override {
    absl::Status status = CheckFrame(image, pts, duration);
    if (!status.ok()) return status;
    if (num_frames_ == 0 && pts < 0) shift_ = -pts;

    std::vector<Piece> pieces;
    status = Encode(image, pts + shift_, duration);
    if (status.ok() && num_frames_ == 0) status = WriteInit(pieces);
    if (!status.ok()) {
      is_over_ = true;
      return status;
    }
    if (num_frames_ == first_in_fragment_) fragment_pts_ = pts;
    ++num_frames_;
    next_pts_ = pts + duration;
    if (num_frames_ - first_in_fragment_ == FragmentLength()) {
      status = EndFragment(pieces, /*is_last=*/false);
      if (!status.ok()) {
        is_over_ = true;
        return status;
      }
    }
    return pieces;
  }

  absl::StatusOr<std::vector<Piece>> Finish() override {
    if (is_over_) return absl::FailedPreconditionError("the MP4 output is already over");
    is_over_ = true;
    if (num_frames_ == 0) return absl::FailedPreconditionError("the MP4 output has no frames");
    std::vector<Piece> pieces;
    absl::Status status = EndFragment(pieces, /*is_last=*/true);
    if (!status.ok()) return status;
    return pieces;
  }

 private:
  absl::Status OpenEncoder() {
    FrameEncoder::Options options;
    options.encoding = options_;
    options.width = options_.width;
    options.height = options_.height;
    options.time_base = time_base_;
    options.frame_rate = options_.frame_rate_num > 0
                             ? AVRational{options_.frame_rate_num, options_.frame_rate_den}
                             : AVRational{30, 1};
    auto encoder = FrameEncoder::Create(options);
    if (!encoder.ok()) return encoder.status();
    encoder_ = *std::move(encoder);
    packet_.reset(av_packet_alloc());
    if (packet_ == nullptr) return absl::ResourceExhaustedError("opening the MP4 output");
    return absl::OkStatus();
  }

  absl::Status OpenMuxer() {
    int error = avformat_alloc_output_context2(&muxer_, nullptr, "mp4", nullptr);
    io_ = OpenSink(this, &Collect);
    if (error < 0 || io_ == nullptr) {
      return absl::ResourceExhaustedError("opening the MP4 output: out of memory");
    }
    muxer_->pb = io_.get();
    muxer_->flags |= AVFMT_FLAG_CUSTOM_IO | AVFMT_FLAG_BITEXACT;  // no version, no creation time
    muxer_->strict_std_compliance = FF_COMPLIANCE_EXPERIMENTAL;   // some sound codecs in MP4
    muxer_->avoid_negative_ts = AVFMT_AVOID_NEG_TS_DISABLED;
    video_ = avformat_new_stream(muxer_, nullptr);
    if (video_ == nullptr) return absl::ResourceExhaustedError("opening the MP4 output");
    avcodec_parameters_from_context(video_->codecpar, &encoder_->context());
    video_->time_base = time_base_;
    video_->avg_frame_rate = encoder_->context().framerate;
    video_->sample_aspect_ratio = {1, 1};
    if (options_.audio.has_value()) {
      audio_ = avformat_new_stream(muxer_, nullptr);
      if (audio_ == nullptr) return absl::ResourceExhaustedError("opening the MP4 output");
      avcodec_parameters_copy(audio_->codecpar, options_.audio->parameters->codecpar.get());
      audio_->time_base = {options_.audio->time_base_num, options_.audio->time_base_den};
    }
    AVDictionary* settings = nullptr;
    av_dict_set(&settings, "movflags", kMp4Flags, 0);
    // The track's own clock ticks as the driving video's; the movie's, which counts start offsets,
    // too. A clock that also divides the sound's ticks exactly is taken where one fits.
    av_dict_set_int(&settings, "video_track_timescale", time_base_.den, 0);
    av_dict_set_int(&settings, "movie_timescale", MovieTimescale(), 0);
    error = avformat_write_header(muxer_, &settings);
    av_dict_free(&settings);
    if (error < 0) return LibavStatus(error, absl::StatusCode::kInternal, "opening the MP4 output");
    return absl::OkStatus();
  }

  int FragmentLength() const {
    return first_in_fragment_ == 0
               ? options_.first_fragment_frames.value_or(options_.frames_per_fragment)
               : options_.frames_per_fragment;
  }

  int64_t MovieTimescale() const {
    if (audio_ == nullptr) return time_base_.den;
    const int64_t both = std::lcm(int64_t{time_base_.den}, int64_t{audio_->time_base.den});
    return both <= std::numeric_limits<int32_t>::max() ? both : time_base_.den;
  }

  static int Collect(void* self, uint8_t* data, int size) {
    static_cast<LibavVideoWriter*>(self)->out_.append(reinterpret_cast<const char*>(data),
                                                      static_cast<size_t>(size));
    return size;
  }

  absl::Status CheckFrame(const Image& image, int64_t pts, int64_t duration) const {
    if (is_over_) return absl::FailedPreconditionError("the MP4 output is already over");
    const size_t size = static_cast<size_t>(options_.width) * options_.height * 3;
    if (image.width != options_.width || image.height != options_.height ||
        image.rgb.size() != size) {
      return absl::InvalidArgumentError(
          absl::StrCat("frame ", num_frames_, " has ", image.width, " x ", image.height,
                       " pixels; the MP4 output has ", options_.width, " x ", options_.height));
    }
    if (num_frames_ > 0 && pts != next_pts_) {
      return absl::InvalidArgumentError(absl::StrCat("frame ", num_frames_, " begins at ", pts,
                                                     ", where the one before ends at ", next_pts_));
    }
    // MP4 keeps durations in 32 bits; times that near the ends of 64 are nonsense.
    const int64_t longest = std::numeric_limits<int32_t>::max() / time_base_.num;
    constexpr int64_t kFar = int64_t{1} << 52;
    if (duration < 1 || duration > longest || pts > kFar || pts < -kFar) {
      return absl::InvalidArgumentError(
          absl::StrCat("frame ", num_frames_, " begins at ", pts, " and lasts ", duration,
                       " ticks of the time base; 1 to ", longest, " are possible"));
    }
    return absl::OkStatus();
  }

  absl::Status Encode(const Image& image, int64_t pts, int64_t duration) {
    const bool begins_fragment = num_frames_ == first_in_fragment_;
    absl::StatusOr<AVPacket*> packet = encoder_->Encode(image, pts, duration, begins_fragment);
    if (!packet.ok()) return packet.status();
    (*packet)->stream_index = video_->index;
    av_packet_rescale_ts(*packet, time_base_, video_->time_base);
    const int error = av_write_frame(muxer_, *packet);
    if (error < 0) {
      return LibavStatus(error, absl::StatusCode::kInternal,
                         absl::StrCat("writing frame ", num_frames_));
    }
    return absl::OkStatus();
  }

  // Writes the sound that begins before `end` (in the video's time base), or all that is left.
  absl::Status WriteAudioUntil(std::optional<int64_t> end) {
    if (audio_ == nullptr) return absl::OkStatus();
    const AudioTrack& track = *options_.audio;
    const AVRational clock{track.time_base_num, track.time_base_den};
    while (next_audio_ < track.packets.size()) {
      const AudioPacket& packet = track.packets[next_audio_];
      if (end.has_value() && av_compare_ts(packet.dts, clock, *end, time_base_) >= 0) break;
      absl::Status status = WriteNextAudio();
      if (!status.ok()) return status;
    }
    return absl::OkStatus();
  }

  absl::Status WriteNextAudio() {
    const AVRational clock{options_.audio->time_base_num, options_.audio->time_base_den};
    const int64_t shift = av_rescale_q(shift_, time_base_, clock);
    const int error =
        WriteAudioPacket(muxer_, audio_, *options_.audio, next_audio_, shift, packet_.get());
    if (error < 0) {
      // It fits MP4 by itself (audio_track.h), but not beside these pictures.
      return LibavStatus(error, absl::StatusCode::kInvalidArgument,
                         absl::StrCat("the sound's times do not fit the pictures', at its packet ",
                                      next_audio_, "; it can be left out (copy_audio)"));
    }
    ++next_audio_;
    return absl::OkStatus();
  }

  // Closes what the muxer holds and takes its bytes.
  absl::StatusOr<std::string> Flush() {
    const int error = av_write_frame(muxer_, nullptr);
    avio_flush(io_.get());
    if (error < 0) return LibavStatus(error, absl::StatusCode::kInternal, "ending an MP4 fragment");
    return std::exchange(out_, {});
  }

  // The first frame and the first packet of sound tell the muxer where both begin; that is all the
  // init segment needs.
  absl::Status WriteInit(std::vector<Piece>& pieces) {
    if (audio_ != nullptr) {
      absl::Status status = WriteNextAudio();
      if (!status.ok()) return status;
    }
    absl::StatusOr<std::string> data = Flush();
    if (!data.ok()) return data.status();
    pieces.push_back({.init = true, .data = *std::move(data)});
    return absl::OkStatus();
  }

  absl::Status EndFragment(std::vector<Piece>& pieces, bool is_last) {
    const bool has_frames = num_frames_ > first_in_fragment_;
    const bool has_audio = audio_ != nullptr && next_audio_ < options_.audio->packets.size();
    if (!has_frames && !(is_last && has_audio)) return absl::OkStatus();
    absl::Status status =
        WriteAudioUntil(is_last ? std::nullopt : std::optional<int64_t>(next_pts_));
    if (!status.ok()) return status;
    absl::StatusOr<std::string> data = Flush();
    if (!data.ok()) return data.status();
    pieces.push_back({.init = false,
                      .data = *std::move(data),
                      .first_frame = first_in_fragment_,
                      .num_frames = static_cast<int>(num_frames_ - first_in_fragment_),
                      .pts = has_frames ? fragment_pts_ : next_pts_});
    first_in_fragment_ = num_frames_;
    return absl::OkStatus();
  }

  Options options_;
  const AVRational time_base_;
  std::unique_ptr<FrameEncoder> encoder_;
  LibavPtr<AVPacket> packet_;  // for the sound
  LibavPtr<AVIOContext> io_;
  AVFormatContext* muxer_ = nullptr;
  AVStream* video_ = nullptr;  // owned by muxer_
  AVStream* audio_ = nullptr;  // owned by muxer_; null: no sound

  std::string out_;  // written by the muxer, not yet returned
  bool is_over_ = false;
  int64_t shift_ = 0;  // added to every time, in time_base_
  int64_t num_frames_ = 0;
  int64_t next_pts_ = 0;
  int64_t first_in_fragment_ = 0;
  int64_t fragment_pts_ = 0;
  size_t next_audio_ = 0;
};

}  // namespace

absl::StatusOr<std::unique_ptr<VideoWriter>> VideoWriter::Create(Options options) {
  absl::Status status = CheckOptions(options);
  if (!status.ok()) return status;
  auto writer = std::make_unique<LibavVideoWriter>(std::move(options));
  status = writer->Init();
  if (!status.ok()) return status;
  return writer;
}

}  // namespace reenact
