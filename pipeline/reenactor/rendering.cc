#include "pipeline/reenactor/rendering.h"

#include <algorithm>
#include <cstddef>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "pipeline/media/image_codec.h"
#include "pipeline/media/resize.h"
#include "pipeline/reenactor/guard.h"

namespace reenact {
namespace {

// Frames decoded by one call of Render, so that a call takes a bounded time.
constexpr int kFramesPerRender = 8;

// `pictures` of one size.
Image SideBySide(const std::vector<Image>& pictures) {
  const auto row = static_cast<ptrdiff_t>(pictures[0].width) * 3;
  Image all;
  all.width = pictures[0].width * static_cast<int>(pictures.size());
  all.height = pictures[0].height;
  all.rgb.reserve(pictures.size() * pictures[0].rgb.size());
  for (int y = 0; y < all.height; ++y) {
    for (const Image& picture : pictures) {
      const auto begin = picture.rgb.begin() + row * y;
      all.rgb.insert(all.rgb.end(), begin, begin + row);
    }
  }
  return all;
}

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
  for (size_t face = 0; face < sources_.size(); ++face) {
    paste_backs_.emplace_back(request_.paste_back);
    paste_order_.push_back(face);
  }
  std::stable_sort(paste_order_.begin(), paste_order_.end(), [this](size_t a, size_t b) {
    return sources_[a].box.side < sources_[b].box.side;
  });
  if (request_.format != OutputFormat::kFragmentedMp4) return absl::OkStatus();
  VideoWriter::Options options;
  static_cast<VideoEncoding&>(options) = request_.encoding;
  options.width = width();
  options.height = height();
  options.time_base_num = driving.time_base_num;
  options.time_base_den = driving.time_base_den;
  options.frame_rate_num = driving.frame_rate_num;
  options.frame_rate_den = driving.frame_rate_den;
  options.audio = std::move(audio);
  audio_copied_ = options.audio.has_value() && options.audio->transcoded_from.empty();
  if (grows()) {
    // A fragment holds the first row's frames, so that they can be sent when they are there.
    const int frames_per_row = model_.info().frames_per_row;
    options.first_fragment_frames = frames_per_row;
    if (request_.live.has_value()) options.frames_per_fragment = std::max(frames_per_row - 1, 1);
  }
  auto writer = VideoWriter::Create(std::move(options));
  if (!writer.ok()) return writer.status();
  writer_ = *std::move(writer);
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
  const auto times = frames_.times(next_frame_);
  return times.has_value() && (times->skipped || IsWhole(next_frame_));
}

bool Rendering::CanFinish() const {
  return frames_.complete() && next_frame_ == frames_.count() && !rendered_;
}

bool Rendering::renderable() const {
  absl::MutexLock lock(&mu_);
  return CanDecode() || CanEmit() || CanFinish();
}

void Rendering::AddPieces(std::vector<VideoWriter::Piece> pieces, std::vector<Output>* outputs) {
  for (VideoWriter::Piece& piece : pieces) {
    Output output;
    output.kind = piece.init ? Output::Kind::kInitSegment : Output::Kind::kFragment;
    output.data = std::move(piece.data);
    output.first_frame = piece.first_frame;
    output.num_frames = piece.num_frames;
    output.pts = piece.pts;
    output.time_base_num = time_base_num_;
    output.time_base_den = time_base_den_;
    outputs->push_back(std::move(output));
  }
}

absl::Status Rendering::Emit(int frame, const ClipFrames::Times& times,
                             std::vector<Output>* outputs) {
  if (writer_ != nullptr) {
    auto pieces = writer_->Write(picture_, times.pts, times.duration);
    if (!pieces.ok()) return pieces.status();
    AddPieces(*std::move(pieces), outputs);
    return absl::OkStatus();
  }
  Output output;
  output.kind = Output::Kind::kFrame;
  output.first_frame = frame;
  output.num_frames = 1;
  output.pts = times.pts;
  output.time_base_num = time_base_num_;
  output.time_base_den = time_base_den_;
  output.width = width();
  output.height = height();
  output.repeated = times.skipped;
  if (request_.format == OutputFormat::kRawRgb) {
    output.data.assign(picture_.rgb.begin(), picture_.rgb.end());
  } else {
    auto encoded = request_.format == OutputFormat::kJpeg
                       ? EncodeJpeg(picture_, request_.jpeg_quality)
                       : EncodePng(picture_);
    if (!encoded.ok()) return encoded.status();
    output.data = *std::move(encoded);
  }
  outputs->push_back(std::move(output));
  return absl::OkStatus();
}

void Rendering::NoteEmitted(int frame, const ClipFrames::Times& times) {
  absl::MutexLock lock(&mu_);
  ++next_frame_;
  // The anchor row may run again.
  if (grows() && frame >= model_.info().frames_per_row) frames_.Forget(frame);
  if (!request_.live.has_value()) return;
  const absl::Time now = absl::Now();
  lag_ = std::max(lag_, now - times.arrived);
  const double media = static_cast<double>(times.pts + times.duration - frames_.first_pts()) *
                       time_base_num_ / time_base_den_;
  const double wall = absl::ToDoubleSeconds(now - frames_.first_arrived());
  if (wall > 0) pace_.real_time_ratio = media / wall;
}

int Rendering::width() const {
  const std::optional<Image>& picture = sources_[0].picture;
  return picture.has_value() ? picture->width
                             : *request_.output_size * static_cast<int>(sources_.size());
}

int Rendering::height() const {
  const std::optional<Image>& picture = sources_[0].picture;
  return picture.has_value() ? picture->height : *request_.output_size;
}

absl::Status Rendering::Compose(std::vector<Generated> faces) {
  if (sources_[0].picture.has_value()) {
    picture_ = *sources_[0].picture;
    for (const size_t face : paste_order_) {
      const EmbeddedSource& source = sources_[face];
      const absl::Status status = paste_backs_[face].Blend(
          faces[face].picture, source.box,
          {.generated = faces[face].landmarks, .original = source.landmarks}, picture_);
      if (!status.ok()) return status;
    }
    return absl::OkStatus();
  }
  const int size = *request_.output_size;
  std::vector<Image> squares;
  for (Generated& face : faces) {
    squares.push_back(face.picture.width == size ? std::move(face.picture)
                                                 : ResizeImage(face.picture, size, size));
  }
  picture_ = squares.size() == 1 ? std::move(squares[0]) : SideBySide(squares);
  return absl::OkStatus();
}

absl::Status Rendering::EmitReady(std::vector<Output>* outputs) {
  while (true) {
    int frame = 0;
    ClipFrames::Times times;
    std::vector<Generated> faces;
    {
      absl::MutexLock lock(&mu_);
      if (!CanEmit()) return absl::OkStatus();
      frame = next_frame_;
      times = *frames_.times(frame);
      for (size_t face = 0; face < sources_.size() && !times.skipped; ++face) {
        Generated& generated = faces.emplace_back();
        generated.picture = std::move(waiting_.extract({frame, face}).mapped());
        if (!sources_[0].picture.has_value()) continue;
        generated.landmarks = frames_.landmarks(face, {frame})[0];
      }
    }
    if (!times.skipped) {
      if (auto status = Compose(std::move(faces)); !status.ok()) return status;
    }
    if (auto status = Emit(frame, times, outputs); !status.ok()) return status;
    NoteEmitted(frame, times);
  }
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
  if (auto status = EmitReady(outputs); !status.ok()) return status;
  bool decoded = true;
  for (int i = 0; i < kFramesPerRender && decoded; ++i) {
    if (cancelled) return absl::CancelledError("the job was cancelled");
    if (auto status = DecodeNext(&decoded); !status.ok()) return status;
    if (auto status = EmitReady(outputs); !status.ok()) return status;
  }
  {
    absl::MutexLock lock(&mu_);
    *finished = CanFinish();
    if (lag_ > absl::ZeroDuration()) pace_.lag = lag_;
  }
  if (!*finished || writer_ == nullptr) return absl::OkStatus();
  auto pieces = writer_->Finish();
  if (!pieces.ok()) return pieces.status();
  AddPieces(*std::move(pieces), outputs);
  writer_.reset();
  return absl::OkStatus();
}

absl::StatusOr<std::vector<Output>> Rendering::Render(const std::atomic<bool>& cancelled) {
  const absl::Time start = absl::Now();
  std::vector<Output> outputs;
  bool finished = false;
  lag_ = absl::ZeroDuration();
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
