#include "pipeline/output/output_encoder.h"

#include <algorithm>
#include <cstddef>
#include <exception>
#include <iterator>
#include <new>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/types/span.h"
#include "pipeline/media/image_codec.h"
#include "pipeline/media/poster.h"

namespace reenact {
namespace {

// Pictures kept for TakeSpare.
constexpr size_t kMaxSpares = 2;

// The matte as a grey picture below the image.
void PutBelow(const OutputPicture& picture, Image* below) {
  below->width = picture.image.width;
  below->height = 2 * picture.image.height;
  below->rgb.resize(2 * picture.image.rgb.size());
  auto to = std::copy(picture.image.rgb.begin(), picture.image.rgb.end(), below->rgb.begin());
  for (const uint8_t level : picture.matte) to = std::fill_n(to, 3, level);
}

std::string Rgba(const OutputPicture& picture) {
  std::string bytes(4 * picture.matte.size(), '\0');
  const uint8_t* from = picture.image.rgb.data();
  char* to = bytes.data();
  for (const uint8_t level : picture.matte) {
    for (int c = 0; c < 3; ++c) *to++ = static_cast<char>(*from++);
    *to++ = static_cast<char>(level);
  }
  return bytes;
}

}  // namespace

absl::StatusOr<std::unique_ptr<OutputEncoder>> OutputEncoder::Create(Options options) {
  if (options.max_waiting < 1) {
    return absl::InvalidArgumentError(
        absl::StrCat("max_waiting is ", options.max_waiting, "; it must be 1 or more"));
  }
  if (options.matte == Matte::kAlpha && options.format != OutputFormat::kPng &&
      options.format != OutputFormat::kRawRgb) {
    return absl::InvalidArgumentError("an alpha channel needs PNG or raw pixels");
  }
  auto audio = std::exchange(options.video.audio, std::nullopt);
  VideoWriter::Options video = options.video;
  video.audio = std::move(audio);
  std::unique_ptr<OutputEncoder> encoder(new OutputEncoder(std::move(options)));
  if (encoder->options_.format == OutputFormat::kFragmentedMp4) {
    video.height = encoder->shown_height();
    auto writer = VideoWriter::Create(std::move(video));
    if (!writer.ok()) return writer.status();
    encoder->writer_ = *std::move(writer);
  }
  return encoder;
}

OutputEncoder::~OutputEncoder() {
  {
    MutexLock lock(&mu_);
    stop_ = true;
  }
  if (thread_.joinable()) thread_.join();
}

int OutputEncoder::shown_height() const {
  return options_.matte == Matte::kBelow ? 2 * options_.video.height : options_.video.height;
}

absl::Status OutputEncoder::Add(Frame frame) {
  return Hand(Work{.frame = std::move(frame), .end = false});
}

absl::Status OutputEncoder::Finish() { return Hand(Work{.frame = {}, .end = true}); }

absl::Status OutputEncoder::Hand(Work work) {
  if (!options_.own_thread) {
    {
      MutexLock lock(&mu_);
      if (!status_.ok()) return status_;
    }
    std::vector<Output> outputs;
    const absl::Status status = Encode(work, &outputs);
    MutexLock lock(&mu_);
    TakeIn(work, status, std::move(outputs));
    return status;
  }
  if (!thread_.joinable()) thread_ = std::thread([this] { Run(); });
  MutexLock lock(&mu_);
  const auto has_room = [this]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) {
    return waiting_.size() < static_cast<size_t>(options_.max_waiting) || !status_.ok();
  };
  mu_.Await(absl::Condition(&has_room));
  if (!status_.ok()) return status_;
  waiting_.push_back(std::move(work));
  return absl::OkStatus();
}

void OutputEncoder::Run() {
  while (true) {
    Work work;
    {
      MutexLock lock(&mu_);
      const auto has_work = [this]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) {
        return !waiting_.empty() || stop_;
      };
      mu_.Await(absl::Condition(&has_work));
      if (stop_) return;
      work = std::move(waiting_.front());
      waiting_.pop_front();
      encoding_ = true;
    }
    std::vector<Output> outputs;
    const absl::Status status = Encode(work, &outputs);
    MutexLock lock(&mu_);
    encoding_ = false;
    TakeIn(work, status, std::move(outputs));
  }
}

void OutputEncoder::TakeIn(const Work& work, const absl::Status& status,
                           std::vector<Output> outputs) {
  if (!status.ok()) {
    status_ = status;
    waiting_.clear();
    return;
  }
  if (!work.end) ++encoded_.num_frames;
  std::move(outputs.begin(), outputs.end(), std::back_inserter(encoded_.outputs));
}

bool OutputEncoder::WaitForOne() {
  MutexLock lock(&mu_);
  const size_t left = waiting_.size() + (encoding_ ? 1 : 0);
  if (left == 0) return false;
  const auto fewer = [this, left]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) {
    return waiting_.size() + (encoding_ ? 1 : 0) < left;
  };
  mu_.Await(absl::Condition(&fewer));
  return true;
}

absl::StatusOr<OutputEncoder::Encoded> OutputEncoder::Take() {
  MutexLock lock(&mu_);
  if (!status_.ok()) return status_;
  return std::exchange(encoded_, {});
}

bool OutputEncoder::idle() const {
  MutexLock lock(&mu_);
  return status_.ok() && waiting_.empty() && !encoding_ && encoded_.outputs.empty() &&
         encoded_.num_frames == 0;
}

OutputPicture OutputEncoder::TakeSpare() {
  MutexLock lock(&mu_);
  if (spares_.empty()) return {};
  OutputPicture spare = std::move(spares_.back());
  spares_.pop_back();
  return spare;
}

absl::Status OutputEncoder::Encode(Work& work, std::vector<Output>* outputs) {
  try {
    if (!work.end) return EncodeFrame(work.frame, outputs);
    if (writer_ == nullptr) return absl::OkStatus();
    auto pieces = writer_->Finish();
    if (!pieces.ok()) return pieces.status();
    AddPieces(*std::move(pieces), outputs);
    return absl::OkStatus();
  } catch (const std::bad_alloc&) {
    return absl::ResourceExhaustedError("encoding the output: out of memory");
  } catch (const std::exception& error) {
    return absl::InternalError(absl::StrCat("encoding the output: ", error.what()));
  }
}

absl::Status OutputEncoder::EncodeFrame(Frame& frame, std::vector<Output>* outputs) {
  const bool repeated = !frame.picture.has_value();
  if (!repeated) {
    std::swap(last_, *frame.picture);
    {
      MutexLock lock(&mu_);
      if (!frame.picture->image.empty() && spares_.size() < kMaxSpares)
        spares_.push_back(*std::move(frame.picture));
    }
    frame.picture.reset();
    const size_t num_pixels = static_cast<size_t>(options_.video.width) * options_.video.height;
    if (last_.image.rgb.size() != 3 * num_pixels ||
        (options_.matte != Matte::kNone && last_.matte.size() != num_pixels)) {
      return absl::InternalError(absl::StrCat("frame ", frame.index, " has ",
                                              last_.image.rgb.size() / 3, " pixels and a matte of ",
                                              last_.matte.size(), ", not ", num_pixels));
    }
    if (options_.matte == Matte::kBelow) PutBelow(last_, &below_);
  }
  if (last_.image.empty()) return absl::InternalError("the first frame has no picture");
  if (options_.poster && !std::exchange(poster_made_, true)) {
    if (absl::Status status = AddPoster(outputs); !status.ok()) return status;
  }
  if (writer_ != nullptr) {
    auto pieces = writer_->Write(Shown(), frame.pts, frame.duration);
    if (!pieces.ok()) return pieces.status();
    AddPieces(*std::move(pieces), outputs);
    return absl::OkStatus();
  }
  Output output;
  output.kind = Output::Kind::kFrame;
  output.first_frame = frame.index;
  output.num_frames = 1;
  output.pts = frame.pts;
  output.time_base_num = options_.video.time_base_num;
  output.time_base_den = options_.video.time_base_den;
  output.width = options_.video.width;
  output.height = shown_height();
  output.repeated = repeated;
  if (absl::Status status = EncodePicture(&output); !status.ok()) return status;
  outputs->push_back(std::move(output));
  return absl::OkStatus();
}

absl::Status OutputEncoder::AddPoster(std::vector<Output>* outputs) {
  // Without the matte, which no viewer of a poster wants to see.
  const PosterSize size = PosterSizeOf(last_.image.width, last_.image.height, {});
  auto poster = MakePoster(last_.image);
  if (!poster.ok()) return poster.status();
  Output output;
  output.kind = Output::Kind::kPoster;
  output.data = *std::move(poster);
  output.width = size.width;
  output.height = size.height;
  output.time_base_num = options_.video.time_base_num;
  output.time_base_den = options_.video.time_base_den;
  outputs->push_back(std::move(output));
  return absl::OkStatus();
}

absl::Status OutputEncoder::EncodePicture(Output* output) {
  const bool alpha = options_.matte == Matte::kAlpha;
  if (options_.format == OutputFormat::kRawRgb) {
    if (alpha) {
      output->data = Rgba(last_);
    } else {
      output->data.assign(Shown().rgb.begin(), Shown().rgb.end());
    }
    return absl::OkStatus();
  }
  auto encoded = options_.format == OutputFormat::kJpeg
                     ? EncodeJpeg(Shown(), options_.jpeg_quality)
                     : EncodePng(Shown(), alpha ? absl::MakeConstSpan(last_.matte)
                                                : absl::Span<const uint8_t>());
  if (!encoded.ok()) return encoded.status();
  output->data = *std::move(encoded);
  return absl::OkStatus();
}

void OutputEncoder::AddPieces(std::vector<VideoWriter::Piece> pieces,
                              std::vector<Output>* outputs) const {
  for (VideoWriter::Piece& piece : pieces) {
    Output output;
    output.kind = piece.init ? Output::Kind::kInitSegment : Output::Kind::kFragment;
    output.data = std::move(piece.data);
    output.first_frame = piece.first_frame;
    output.num_frames = piece.num_frames;
    output.pts = piece.pts;
    output.time_base_num = options_.video.time_base_num;
    output.time_base_den = options_.video.time_base_den;
    outputs->push_back(std::move(output));
  }
}

}  // namespace reenact
