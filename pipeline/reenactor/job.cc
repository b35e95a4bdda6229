#include "pipeline/reenactor/job.h"

#include <cmath>
#include <cstddef>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "absl/types/span.h"
#include "pipeline/anchored/row_plan.h"
#include "pipeline/diffusion/noise.h"
#include "pipeline/diffusion/schedule.h"
#include "pipeline/face/crop.h"
#include "pipeline/media/image_codec.h"
#include "pipeline/media/resize.h"
#include "pipeline/reenactor/guard.h"
#include "pipeline/reenactor/missing_faces.h"

namespace reenact {
namespace {

// Frames decoded by one call of Render, so that a call takes a bounded time.
constexpr int kFramesPerRender = 8;

// Rows that begin together where neighbouring frames share a row: the anchor row and one more.
constexpr int kFirstRows = 2;

constexpr int kMinOutputSize = 16;
constexpr double kMaxGuidanceScale = 20;

template <typename T>
absl::Status CheckRange(absl::string_view field, T value, T min, T max) {
  if (value >= min && value <= max) return absl::OkStatus();  // NaN fails
  return absl::InvalidArgumentError(
      absl::StrCat(field, " must be ", min, "..", max, ", is ", value));
}

absl::Status CheckRequest(const JobRequest& request, const ModelInfo& info) {
  if (request.source_image.empty() && request.source_text.empty()) {
    return absl::InvalidArgumentError("no source: give an image, a text, or both");
  }
  if (!request.source_text.empty() && !info.accepts_text) {
    return absl::InvalidArgumentError(
        absl::StrCat("model ", info.name, " does not take a text as source"));
  }
  // The first step count that has a posterior variance to borrow is 2 (schedule.h).
  for (const absl::Status& status :
       {CheckRange("edit_strength", request.edit_strength, 0.0, 1.0),
        CheckRange("num_steps", request.num_steps.value_or(info.default_num_steps), 2,
                   info.max_num_steps),
        CheckRange("ddim_eta", request.ddim_eta, 0.0, 1.0),
        CheckRange("guidance_scale", request.guidance_scale.value_or(info.default_guidance_scale),
                   0.0, kMaxGuidanceScale),
        CheckRange("output_size", request.output_size.value_or(info.image_size), kMinOutputSize,
                   info.max_output_size),
        CheckRange("quality", request.quality, 0, 51),
        CheckRange("jpeg_quality", request.jpeg_quality, 1, 100)}) {
    if (!status.ok()) return status;
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<std::unique_ptr<ReenactorJob>> ReenactorJob::Create(const Model& model,
                                                                   const ReenactorOptions& options,
                                                                   TraceBudget& budget,
                                                                   const JobRequest& request) {
  if (auto status = CheckRequest(request, model.info()); !status.ok()) return status;
  std::unique_ptr<ReenactorJob> job(new ReenactorJob(model, options, budget, request));
  const absl::Status status = CatchErrors("reading the source", [&]() -> absl::Status {
    auto landmarker = model.NewFaceLandmarker();
    if (!landmarker.ok()) return landmarker.status();
    job->landmarker_ = *std::move(landmarker);
    auto source = model.EmbedSource(request, *job->landmarker_);
    if (!source.ok()) return source.status();
    job->source_ = *std::move(source);
    return absl::OkStatus();
  });
  if (!status.ok()) return status;
  job->request_.source_image.clear();
  job->request_.source_image.shrink_to_fit();
  return job;
}

ReenactorJob::ReenactorJob(const Model& model, const ReenactorOptions& options, TraceBudget& budget,
                           JobRequest request)
    : model_(model),
      options_(options),
      budget_(budget),
      request_(std::move(request)),
      picture_bytes_(int64_t{3} * model.info().image_size * model.info().image_size) {
  const ModelInfo& info = model.info();
  if (!request_.num_steps.has_value()) request_.num_steps = info.default_num_steps;
  if (!request_.sampler.has_value()) request_.sampler = info.default_sampler;
  if (!request_.guidance_scale.has_value()) request_.guidance_scale = info.default_guidance_scale;
  if (!request_.output_size.has_value()) request_.output_size = info.image_size;
  summary_.model = info.name;
  summary_.bundle_sha256 = info.bundle_sha256;
  summary_.seed = request_.seed;
}

absl::Status ReenactorJob::AddDriving(std::string_view bytes) {
  if (finished_driving_) {
    return absl::FailedPreconditionError("the driving media has ended already");
  }
  const auto limit = static_cast<size_t>(options_.max_driving_bytes);
  if (bytes.size() > limit || driving_.size() > limit - bytes.size()) {
    return absl::ResourceExhaustedError(
        absl::StrCat("the driving media is larger than ", limit, " bytes"));
  }
  return CatchErrors("receiving the driving media", [&] {
    driving_.append(bytes);
    return absl::OkStatus();
  });
}

absl::Status ReenactorJob::FinishDriving() {
  if (finished_driving_) {
    return absl::FailedPreconditionError("the driving media has ended already");
  }
  finished_driving_ = true;
  if (driving_.empty()) return absl::InvalidArgumentError("no driving media was sent");
  auto status = CatchErrors("reading the driving video", [&] { return ReadDriving(); });
  if (!status.ok()) return status;
  landmarker_.reset();
  return CatchErrors("preparing the denoising", [&] { return Prepare(); });
}

absl::Status ReenactorJob::ReadDriving() {
  absl::Time start = absl::Now();
  VideoLimits limits;
  limits.max_frames = options_.max_frames;
  limits.max_pixels = options_.max_image_pixels;
  auto reader = VideoReader::Open(std::move(driving_), limits);
  driving_.clear();
  // The reader does not know which of the job's files it reads.
  const auto named = [](const absl::Status& status) {
    return absl::Status(status.code(), absl::StrCat("driving video: ", status.message()));
  };
  if (!reader.ok()) return named(reader.status());
  clip_.info = (*reader)->info();

  std::vector<std::optional<Landmarks>> found;
  landmarker_->Reset();
  while (true) {
    if (const absl::Status status = CheckCancelled(); !status.ok()) return status;
    auto frame = (*reader)->Next();
    if (!frame.ok()) return named(frame.status());
    const absl::Time decoded = absl::Now();
    summary_.decode_time += decoded - start;
    start = decoded;
    if (!frame->has_value()) break;
    auto face = landmarker_->Track((*frame)->image);
    if (!face.ok()) {
      return absl::Status(face.status().code(), absl::StrCat("driving frame ", found.size(), ": ",
                                                             face.status().message()));
    }
    found.push_back(face->has_value() ? std::optional<Landmarks>((*face)->landmarks)
                                      : std::nullopt);
    clip_.pts.push_back((*frame)->pts);
    clip_.durations.push_back((*frame)->duration);
    const absl::Time tracked = absl::Now();
    summary_.landmark_time += tracked - start;
    start = tracked;
  }
  summary_.frames_in = static_cast<int64_t>(found.size());
  if (const int repaired = (*reader)->num_repaired_timestamps(); repaired > 0) {
    summary_.notes.push_back(absl::StrCat(
        repaired, " frames of the driving video had a missing or backward time stamp"));
  }
  if (request_.copy_audio && request_.format == OutputFormat::kFragmentedMp4) {
    auto audio = (*reader)->ReadAudio();
    if (!audio.ok()) return named(audio.status());
    if (!audio->note.empty()) summary_.notes.push_back(audio->note);
    summary_.audio_copied = !audio->empty();
    if (!audio->empty()) audio_ = *std::move(audio);
  }

  auto filled = FillMissingFaces(found, clip_.pts, request_.no_face);
  if (!filled.ok()) return filled.status();
  summary_.frame_notes = std::move(filled->notes);
  std::vector<Landmarks> faces;
  for (auto& face : found) {
    if (face.has_value()) faces.push_back(*face);
  }
  const CropBox box = FaceCrop(faces, clip_.info.width, clip_.info.height);
  clip_.landmarks = std::move(filled->landmarks);
  for (Landmarks& landmarks : clip_.landmarks) {
    landmarks = ToCrop(landmarks, box, clip_.info.width, clip_.info.height);
  }
  summary_.landmark_time += absl::Now() - start;
  return absl::OkStatus();
}

absl::Status ReenactorJob::CheckCancelled() const {
  return cancelled_ ? absl::CancelledError("the job was cancelled") : absl::OkStatus();
}

absl::Status ReenactorJob::Prepare() {
  const absl::Time start = absl::Now();
  const BundleConfig& config = model_.bundle().config;
  const int num_frames = static_cast<int>(clip_.pts.size());
  auto rows = PlanRows(num_frames, model_.info().frames_per_row, request_.plan, request_.seed);
  if (!rows.ok()) return rows.status();
  auto schedule =
      Schedule::Create(config.schedule, config.num_train_steps, absl::StrCat(*request_.num_steps));
  if (!schedule.ok()) return schedule.status();
  auto conditions = model_.MakeConditions(source_, clip_.landmarks, *request_.guidance_scale != 1);
  if (!conditions.ok()) return conditions.status();

  plan_.num_frames = num_frames;
  plan_.num_rows = static_cast<int>(rows->rows.size());
  plan_.num_padding_slots = rows->num_padding_slots;
  plan_.num_steps = schedule->size();
  const auto form = ChooseTraceForm();
  if (!form.ok()) return form.status();

  SamplingOptions options;
  options.prediction = config.prediction;
  options.sampler = *request_.sampler;
  options.ddim_eta = request_.ddim_eta;
  options.guidance_scale = *request_.guidance_scale;
  plan_.gflop_per_row_step = TraceDenoiser::GflopPerRowStep(config.sdit, options.guided());
  RowSchedule::Options order;
  order.form = *form;
  order.max_active_rows = options_.max_active_rows;
  // Neighbouring frames share a row: the fewer rows begin together, the sooner the first are there.
  order.max_first_rows =
      request_.plan == SequencePlan::kContiguous ? kFirstRows : options_.max_active_rows;
  const int64_t channels = config.sdit.latent_channels;
  const int64_t size = config.sdit.latent_size;
  auto denoiser = TraceDenoiser::Create(
      model_.executor(), *std::move(schedule), *std::move(rows), *std::move(conditions),
      [seed = request_.seed, channels, size](int frame, int step) {
        return FrameNoise(seed, static_cast<uint64_t>(frame), static_cast<uint64_t>(step),
                          {channels, size, size});
      },
      options, order);
  if (!denoiser.ok()) return denoiser.status();
  denoiser_.emplace(*std::move(denoiser));
  plan_.total_steps = denoiser_->total_row_steps();
  summary_.embed_time += absl::Now() - start;
  return OpenWriter();
}

absl::StatusOr<TraceForm> ReenactorJob::ChooseTraceForm() {
  using Trace = ReenactorOptions::Trace;
  if (options_.trace == Trace::kLockStep) return TraceForm::kLockStep;
  if (options_.trace == Trace::kRecomputed) return TraceForm::kRecomputed;
  const int64_t bytes = TraceDenoiser::RetainedBytes(model_.executor(), plan_.num_steps,
                                                     *request_.guidance_scale != 1);
  auto reservation = budget_.Reserve(bytes);
  if (reservation.has_value()) {
    retained_ = *std::move(reservation);
    return TraceForm::kRetained;
  }
  if (options_.trace == Trace::kRetained) {
    return absl::ResourceExhaustedError(absl::StrCat("the job's anchor trace takes ", bytes,
                                                     " bytes; ", budget_.available(), " of ",
                                                     budget_.limit(), " are free"));
  }
  return plan_.num_rows <= options_.max_active_rows ? TraceForm::kLockStep : TraceForm::kRecomputed;
}

absl::Status ReenactorJob::OpenWriter() {
  if (request_.format != OutputFormat::kFragmentedMp4) return absl::OkStatus();
  Mp4Writer::Options options;
  options.width = options.height = *request_.output_size;
  options.time_base_num = clip_.info.time_base_num;
  options.time_base_den = clip_.info.time_base_den;
  options.frame_rate_num = clip_.info.frame_rate_num;
  options.frame_rate_den = clip_.info.frame_rate_den;
  options.crf = request_.quality;
  options.audio = std::move(audio_);
  audio_.reset();
  auto writer = Mp4Writer::Create(std::move(options));
  if (!writer.ok()) return writer.status();
  writer_ = *std::move(writer);
  return absl::OkStatus();
}

bool ReenactorJob::denoised() const {
  return plan_.total_steps > 0 && steps_done_ == plan_.total_steps;
}

bool ReenactorJob::rendered() const { return rendered_; }

RowDemand ReenactorJob::row_demand() const {
  return denoiser_.has_value() ? denoiser_->demand() : RowDemand{};
}

absl::StatusOr<TraceDenoiser::Share> ReenactorJob::BeginStep(int num_rows) {
  if (!denoiser_.has_value()) {
    return absl::FailedPreconditionError("the job is not prepared or has been denoised already");
  }
  const RowDemand demand = denoiser_->demand();
  if (num_rows < demand.min_rows || num_rows > demand.max_rows) {
    return absl::InternalError(
        absl::StrCat(num_rows, " rows in a step of ", demand.min_rows, "..", demand.max_rows));
  }
  return TraceDenoiser::Share{.clip = &*denoiser_, .num_rows = num_rows};
}

absl::Status ReenactorJob::EndStep(int num_rows,
                                   absl::StatusOr<std::vector<FinishedFrame>> finished,
                                   absl::Duration duration) {
  denoise_time_ += duration;
  if (!finished.ok()) return finished.status();
  {
    absl::MutexLock lock(&mu_);
    for (FinishedFrame& frame : *finished) ready_[frame.frame] = std::move(frame.latent);
  }
  ++steps_run_;
  if (denoiser_->done()) {
    denoiser_.reset();
    retained_ = {};
  }
  // Last: whoever sees the final count finds every latent.
  steps_done_ += num_rows;
  return absl::OkStatus();
}

bool ReenactorJob::CanDecode() const {
  if (ready_.empty()) return false;
  return ready_.begin()->first == next_frame_ ||
         waiting_bytes_ + picture_bytes_ <= options_.max_waiting_bytes;
}

bool ReenactorJob::renderable() const {
  absl::MutexLock lock(&mu_);
  return CanDecode();
}

void ReenactorJob::AddPieces(std::vector<Mp4Writer::Piece> pieces, std::vector<Output>* outputs) {
  for (Mp4Writer::Piece& piece : pieces) {
    Output output;
    output.kind = piece.init ? Output::Kind::kInitSegment : Output::Kind::kFragment;
    output.data = std::move(piece.data);
    output.first_frame = piece.first_frame;
    output.num_frames = piece.num_frames;
    output.pts = piece.pts;
    output.time_base_num = clip_.info.time_base_num;
    output.time_base_den = clip_.info.time_base_den;
    outputs->push_back(std::move(output));
  }
}

absl::Status ReenactorJob::Emit(int frame, const Image& image, std::vector<Output>* outputs) {
  const int size = *request_.output_size;
  const Image resized = image.width == size ? image : ResizeImage(image, size, size);
  if (writer_ != nullptr) {
    auto pieces = writer_->Write(resized, clip_.pts[frame], clip_.durations[frame]);
    if (!pieces.ok()) return pieces.status();
    AddPieces(*std::move(pieces), outputs);
    return absl::OkStatus();
  }
  Output output;
  output.kind = Output::Kind::kFrame;
  output.first_frame = frame;
  output.num_frames = 1;
  output.pts = clip_.pts[frame];
  output.time_base_num = clip_.info.time_base_num;
  output.time_base_den = clip_.info.time_base_den;
  output.width = output.height = size;
  if (request_.format == OutputFormat::kRawRgb) {
    output.data.assign(resized.rgb.begin(), resized.rgb.end());
  } else {
    auto encoded = request_.format == OutputFormat::kJpeg
                       ? EncodeJpeg(resized, request_.jpeg_quality)
                       : EncodePng(resized);
    if (!encoded.ok()) return encoded.status();
    output.data = *std::move(encoded);
  }
  outputs->push_back(std::move(output));
  return absl::OkStatus();
}

absl::StatusOr<std::vector<Output>> ReenactorJob::Render() {
  const absl::Time start = absl::Now();
  std::vector<Output> outputs;
  int64_t next_to_emit = 0;
  const absl::Status status = CatchErrors("rendering", [&]() -> absl::Status {
    for (int i = 0; i < kFramesPerRender; ++i) {
      if (auto cancelled = CheckCancelled(); !cancelled.ok()) return cancelled;
      int frame = 0;
      torch::Tensor latent;
      {
        absl::MutexLock lock(&mu_);
        next_to_emit = next_frame_;
        if (!CanDecode()) break;
        const auto next = ready_.begin();
        frame = next->first;
        latent = std::move(next->second);
        ready_.erase(next);
      }
      auto image = model_.Decode(latent);
      if (!image.ok()) {
        return absl::Status(image.status().code(), absl::StrCat("rendering frame ", frame, ": ",
                                                                image.status().message()));
      }
      waiting_[frame] = *std::move(image);
      while (!waiting_.empty() && waiting_.begin()->first == next_to_emit) {
        const auto first = waiting_.begin();
        if (auto emitted = Emit(first->first, first->second, &outputs); !emitted.ok()) {
          return emitted;
        }
        waiting_.erase(first);
        ++next_to_emit;
      }
      absl::MutexLock lock(&mu_);
      next_frame_ = static_cast<int>(next_to_emit);
      waiting_bytes_ = static_cast<int64_t>(waiting_.size()) * picture_bytes_;
    }
    if (next_to_emit == plan_.num_frames && writer_ != nullptr) {
      auto pieces = writer_->Finish();
      if (!pieces.ok()) return pieces.status();
      AddPieces(*std::move(pieces), &outputs);
      writer_.reset();
    }
    return absl::OkStatus();
  });
  render_time_ += absl::Now() - start;
  if (!status.ok()) return status;
  for (const Output& output : outputs) {
    bytes_out_ += static_cast<int64_t>(output.data.size());
    frames_done_ += output.num_frames;
  }
  if (plan_.num_frames > 0 && frames_done_ == plan_.num_frames) rendered_ = true;
  return outputs;
}

JobSummary ReenactorJob::Summary() const {
  JobSummary summary = summary_;
  summary.notes.insert(summary.notes.begin(), source_.notes.begin(), source_.notes.end());
  summary.frames_out = frames_done_;
  summary.steps_run = steps_run_;
  summary.rows_run = steps_done_;
  summary.bytes_out = bytes_out_;
  summary.decode_time += source_.decode_time;
  summary.landmark_time += source_.landmark_time;
  summary.embed_time += source_.embed_time;
  summary.denoise_time = denoise_time_;
  summary.render_time = render_time_;
  return summary;
}

}  // namespace reenact
