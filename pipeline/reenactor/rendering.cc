#include "pipeline/reenactor/rendering.h"

#include <algorithm>
#include <cstddef>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "pipeline/reenactor/guard.h"

namespace reenact {
namespace {

// Frames decoded by one call of Render, so that a call takes a bounded time.
constexpr int kFramesPerRender = 8;

// Smaller pictures are encoded where they are composed: a thread gains nothing.
constexpr int64_t kThreadFromPixels = int64_t{128} * 128;
// Pictures that may wait to be encoded.
constexpr int64_t kMaxEncodingBytes = int64_t{64} << 20;
constexpr int64_t kMaxEncodingPictures = 8;

}  // namespace

Rendering::Rendering(const Model& model, const ReenactorOptions& options, const JobRequest& request,
                     const std::vector<EmbeddedSource>& sources, ClipFrames& frames)
    : model_(model),
      options_(options),
      request_(request),
      sources_(sources),
      frames_(frames),
      picture_bytes_(int64_t{3} * model.info().image_size * model.info().image_size) {}

absl::Status Rendering::Start(const VideoInfo& driving, std::optional<AudioTrack> audio) {
  time_base_num_ = driving.time_base_num;
  time_base_den_ = driving.time_base_den;
  const Composer::Options compose = {.paste_back = request_.paste_back,
                                     .matte = request_.matte != Matte::kNone,
                                     .square_size = *request_.output_size};
  std::vector<Composer::Face> faces;
  for (const EmbeddedSource& source : sources_) faces.push_back({source.box, source.landmarks});
  if (sources_[0].clip != nullptr) {
    composer_.emplace(compose, std::move(faces), *sources_[0].clip);
  } else if (sources_[0].picture.has_value()) {
    composer_.emplace(compose, std::move(faces), *sources_[0].picture);
  } else {
    composer_.emplace(compose, faces.size());
  }

  OutputEncoder::Options options;
  options.format = request_.format;
  options.jpeg_quality = request_.jpeg_quality;
  options.poster = request_.poster;
  options.matte = request_.matte;
  const int64_t num_pixels = int64_t{composer_->width()} * composer_->height();
  options.own_thread = num_pixels >= kThreadFromPixels;
  options.max_waiting = static_cast<int>(
      std::clamp(kMaxEncodingBytes / (4 * num_pixels), int64_t{1}, kMaxEncodingPictures));
  VideoWriter::Options& video = options.video;
  static_cast<VideoEncoding&>(video) = request_.encoding;
  video.width = composer_->width();
  video.height = composer_->height();
  video.time_base_num = driving.time_base_num;
  video.time_base_den = driving.time_base_den;
  video.frame_rate_num = driving.frame_rate_num;
  video.frame_rate_den = driving.frame_rate_den;
  video.audio = std::move(audio);
  audio_copied_ = video.audio.has_value() && video.audio->transcoded_from.empty();
  if (grows()) {
    // A fragment holds the first row's frames, so that they can be sent when they are there.
    const int frames_per_row = model_.info().frames_per_row;
    video.first_fragment_frames = frames_per_row;
    if (request_.live.has_value()) video.frames_per_fragment = std::max(frames_per_row - 1, 1);
  }
  auto encoder = OutputEncoder::Create(std::move(options));
  if (!encoder.ok()) return encoder.status();
  encoder_ = *std::move(encoder);
  absl::MutexLock lock(&mu_);
  started_ = true;
  return absl::OkStatus();
}

void Rendering::AddLatents(size_t face, std::vector<FinishedFrame> frames) {
  absl::MutexLock lock(&mu_);
  for (FinishedFrame& frame : frames) ready_[{frame.frame, face}] = std::move(frame.latent);
}

Rendering::Pace Rendering::pace() const {
  absl::MutexLock lock(&mu_);
  return pace_;
}

bool Rendering::CanDecode() const {
  if (ready_.empty()) return false;
  return ready_.begin()->first.first == frames_.NextShown(next_frame_) ||
         static_cast<int64_t>(waiting_.size() + 1) * picture_bytes_ <= options_.max_waiting_bytes;
}

bool Rendering::IsWhole(int frame) const {
  for (size_t face = 0; face < sources_.size(); ++face) {
    if (!waiting_.contains({frame, face})) return false;
  }
  return true;
}

bool Rendering::CanEmit() const {
  const auto times = frames_.times(next_frame_, /*needs_duration=*/is_video());
  return times.has_value() && (times->skipped || IsWhole(next_frame_));
}

bool Rendering::CanFinish() const {
  return frames_.complete() && next_frame_ == frames_.count() && !rendered_;
}

bool Rendering::renderable() const {
  absl::MutexLock lock(&mu_);
  return started_ && (CanDecode() || CanEmit() || CanFinish() || !encoder_->idle());
}

absl::Status Rendering::EmitReady() {
  while (true) {
    OutputEncoder::Frame next;
    ClipFrames::Times times;
    std::vector<Composer::Generated> faces;
    {
      absl::MutexLock lock(&mu_);
      if (!CanEmit()) return absl::OkStatus();
      const int frame = next_frame_;
      times = *frames_.times(frame, /*needs_duration=*/is_video());
      next = {.index = frame, .pts = times.pts, .duration = times.duration, .picture = {}};
      for (size_t face = 0; face < sources_.size() && !times.skipped; ++face) {
        faces.push_back({std::move(waiting_.extract({frame, face}).mapped()), {}});
        if (!composer_->needs_landmarks()) continue;
        faces.back().landmarks = frames_.landmarks(face, {frame})[0];
      }
      ++next_frame_;
      // The anchor row may run again.
      if (grows() && frame >= model_.info().frames_per_row) frames_.Forget(frame);
    }
    if (!times.skipped) {
      next.picture = encoder_->TakeSpare();
      const double seconds =
          static_cast<double>(times.pts - frames_.first_pts()) * time_base_num_ / time_base_den_;
      const absl::Status status = composer_->Compose(seconds, std::move(faces), &*next.picture);
      if (!status.ok()) return status;
    }
    encoding_.push_back(times);
    if (auto status = encoder_->Add(std::move(next)); !status.ok()) return status;
  }
}

absl::Status Rendering::TakeEncoded(std::vector<Output>* outputs) {
  auto encoded = encoder_->Take();
  if (!encoded.ok()) return encoded.status();
  *outputs = std::move(encoded->outputs);
  if (encoded->num_frames == 0) return absl::OkStatus();
  const absl::Time now = absl::Now();
  Pace pace;
  int64_t end = 0;
  for (int i = 0; i < encoded->num_frames; ++i) {
    const ClipFrames::Times& times = encoding_.front();
    pace.lag = std::max(pace.lag, now - times.arrived);
    end = times.pts + times.duration;
    encoding_.pop_front();
  }
  if (!request_.live.has_value()) return absl::OkStatus();
  const double media =
      static_cast<double>(end - frames_.first_pts()) * time_base_num_ / time_base_den_;
  const double wall = absl::ToDoubleSeconds(now - frames_.first_arrived());
  if (wall > 0) pace.real_time_ratio = media / wall;
  absl::MutexLock lock(&mu_);
  pace_ = pace;
  return absl::OkStatus();
}

absl::Status Rendering::DecodeNext(bool* decoded) {
  FrameOfFace which;
  torch::Tensor latent;
  {
    absl::MutexLock lock(&mu_);
    *decoded = CanDecode();
    if (!*decoded) return absl::OkStatus();
    auto next = ready_.extract(ready_.begin());
    which = next.key();
    latent = std::move(next.mapped());
  }
  auto image = model_.Decode(latent);
  if (!image.ok()) {
    return absl::Status(image.status().code(), absl::StrCat("rendering frame ", which.first, ": ",
                                                            image.status().message()));
  }
  absl::MutexLock lock(&mu_);
  waiting_[which] = *std::move(image);
  return absl::OkStatus();
}

absl::Status Rendering::RenderSome(const std::atomic<bool>& cancelled, std::vector<Output>* outputs,
                                   bool* finished) {
  const absl::Status was_cancelled = absl::CancelledError("the job was cancelled");
  if (auto status = EmitReady(); !status.ok()) return status;
  bool decoded = true;
  for (int i = 0; i < kFramesPerRender && decoded; ++i) {
    if (cancelled) return was_cancelled;
    if (auto status = DecodeNext(&decoded); !status.ok()) return status;
    if (auto status = EmitReady(); !status.ok()) return status;
  }
  bool more = false, last = false;
  {
    absl::MutexLock lock(&mu_);
    more = CanDecode() || CanEmit();
    last = CanFinish();
  }
  if (last && !std::exchange(finishing_, true)) {
    if (auto status = encoder_->Finish(); !status.ok()) return status;
  }
  // Who decodes on need not wait: what has been encoded meanwhile leaves with the next call.
  while (!more && encoder_->WaitForOne()) {
    if (cancelled) return was_cancelled;
  }
  if (auto status = TakeEncoded(outputs); !status.ok()) return status;
  *finished = finishing_ && encoder_->idle();
  return absl::OkStatus();
}

absl::StatusOr<std::vector<Output>> Rendering::Render(const std::atomic<bool>& cancelled) {
  const absl::Time start = absl::Now();
  std::vector<Output> outputs;
  bool finished = false;
  const absl::Status status =
      CatchErrors("rendering", [&] { return RenderSome(cancelled, &outputs, &finished); });
  time_ += absl::Now() - start;
  if (!status.ok()) return status;
  for (const Output& output : outputs) {
    bytes_out_ += static_cast<int64_t>(output.data.size());
    frames_done_ += output.num_frames;
  }
  if (finished) rendered_ = true;
  return outputs;
}

}  // namespace reenact
