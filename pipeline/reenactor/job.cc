#include "pipeline/reenactor/job.h"

#include <algorithm>
#include <cstddef>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "absl/types/span.h"
#include "pipeline/diffusion/noise.h"
#include "pipeline/diffusion/schedule.h"
#include "pipeline/reenactor/face_selection.h"
#include "pipeline/reenactor/guard.h"

namespace reenact {
namespace {

// Frames read by one call of Prepare.
constexpr int kFramesPerPreparation = 8;

// Rows of a job that grows which are read before they can be denoised.
constexpr int kRowsAhead = 3;

// Skipped frames that are named one by one in the summary.
constexpr int64_t kMaxSkipNotes = 1000;

constexpr int kMinOutputSize = 16;
constexpr double kMaxGuidanceScale = 20;

template <typename T>
absl::Status CheckRange(absl::string_view field, T value, T min, T max) {
  if (value >= min && value <= max) return absl::OkStatus();  // NaN fails
  return absl::InvalidArgumentError(
      absl::StrCat(field, " must be ", min, "..", max, ", is ", value));
}

absl::Status CheckRequest(const JobRequest& request, const ModelInfo& info) {
  if (request.source.image.empty() && request.source.text.empty()) {
    return absl::InvalidArgumentError("no source: give an image, a text, or both");
  }
  if (!request.source.text.empty() && !info.accepts_text) {
    return absl::InvalidArgumentError(
        absl::StrCat("model ", info.name, " does not take a text as source"));
  }
  // The first step count that has a posterior variance to borrow is 2 (schedule.h).
  if (request.composition == Composition::kPasteBack) {
    if (request.source.image.empty()) {
      return absl::InvalidArgumentError(
          "composition is paste_back, must be crop without a source image");
    }
    if (request.output_size.has_value()) {
      return absl::InvalidArgumentError(
          "output_size is given, must not be with the composition paste_back, whose pictures have "
          "the source's size");
    }
  }
  if (request.live.has_value()) {
    if (request.plan != SequencePlan::kContiguous) {
      return absl::InvalidArgumentError("live driving needs the sequence plan contiguous");
    }
    for (const absl::Status& status :
         {CheckRange("live.time_base.numerator", request.live->time_base_num, 1, INT32_MAX),
          CheckRange("live.time_base.denominator", request.live->time_base_den, 1, INT32_MAX)}) {
      if (!status.ok()) return status;
    }
  }
  for (const absl::Status& status :
       {CheckRange("edit_strength", request.source.edit_strength, 0.0, 1.0),
        CheckRange("num_steps", request.num_steps.value_or(info.default_num_steps), 2,
                   info.max_num_steps),
        CheckRange("ddim_eta", request.ddim_eta, 0.0, 1.0),
        CheckRange("guidance_scale", request.guidance_scale.value_or(info.default_guidance_scale),
                   0.0, kMaxGuidanceScale),
        CheckRange("output_size", request.output_size.value_or(info.image_size), kMinOutputSize,
                   info.max_output_size),
        CheckVideoEncoding(request.encoding), CheckPasteBackOptions(request.paste_back),
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
    auto source = model.EmbedSource(request, **landmarker);
    if (!source.ok()) return source.status();
    job->sources_[0] = *std::move(source);
    MotionOptions motion = request.motion;
    motion.mode = request.motion_mode.value_or(
        job->sources_[0].landmarks.has_value() ? MotionMode::kRelative : MotionMode::kAbsolute);
    SmoothingOptions smoothing;
    smoothing.strength = request.smoothing;
    auto moves = DriverMotion::Create(job->sources_[0].landmarks, motion, smoothing);
    if (!moves.ok()) return moves.status();
    auto face =
        ToFaceChoice(request.driver_face, "driver_face", **landmarker, options.max_image_pixels);
    if (!face.ok()) return face.status();
    job->driving_.emplace(job->DrivingOptions(*face), *std::move(landmarker), *std::move(moves));
    return absl::OkStatus();
  });
  if (!status.ok()) return status;
  job->request_.source.image = {};
  job->request_.source.face.reference_image = {};
  job->request_.driver_face.reference_image = {};
  return job;
}

ReenactorJob::ReenactorJob(const Model& model, const ReenactorOptions& options, TraceBudget& budget,
                           JobRequest request)
    : model_(model),
      options_(options),
      budget_(budget),
      request_(std::move(request)),
      feed_(model.info().frames_per_row, request_.live),
      rendering_(model_, options_, request_, sources_, frames_) {
  const ModelInfo& info = model.info();
  if (!request_.num_steps.has_value()) request_.num_steps = info.default_num_steps;
  if (!request_.sampler.has_value()) request_.sampler = info.default_sampler;
  if (!request_.guidance_scale.has_value()) request_.guidance_scale = info.default_guidance_scale;
  if (!request_.output_size.has_value()) request_.output_size = info.image_size;
  summary_.model = info.name;
  summary_.bundle_sha256 = info.bundle_sha256;
  summary_.seed = request_.seed;
}

Driving::Options ReenactorJob::DrivingOptions(const FaceChoice& face) const {
  Driving::Options driving;
  driving.face = face;
  driving.max_bytes = options_.max_driving_bytes;
  driving.max_frames = options_.max_frames;
  driving.max_pixels = options_.max_image_pixels;
  driving.no_face = request_.no_face;
  if (grows()) driving.crop_frames = model_.info().frames_per_row;
  driving.read_audio = request_.copy_audio && request_.format == OutputFormat::kFragmentedMp4;
  driving.live = request_.live;
  return driving;
}

absl::Status ReenactorJob::AddDriving(std::string_view bytes) {
  return CatchErrors("receiving the driving media", [&] { return driving_->AddBytes(bytes); });
}

absl::Status ReenactorJob::AddFrame(LiveFrame frame) {
  return driving_->AddFrame(std::move(frame));
}

absl::Status ReenactorJob::FinishDriving() { return driving_->Finish(); }

absl::Status ReenactorJob::CheckCancelled() const {
  return cancelled_ ? absl::CancelledError("the job was cancelled") : absl::OkStatus();
}

absl::StatusOr<EngineJob::Preparation> ReenactorJob::Prepare() {
  return CatchErrors("reading the driving video", [&] { return PrepareSome(); });
}

bool ReenactorJob::IsAhead() const {
  // Frames that may be skipped are worth nothing when they are old.
  if (!grows() || (live() && request_.live->skip == SkipPolicy::kSkip)) return false;
  const int others = std::max(model_.info().frames_per_row - 1, 1);
  return started_ && open_rows_ + feed_.num_waiting() / others >= kRowsAhead;
}

absl::StatusOr<EngineJob::Preparation> ReenactorJob::PrepareSome() {
  for (int i = 0; i < kFramesPerPreparation; ++i) {
    if (const absl::Status status = CheckCancelled(); !status.ok()) return status;
    {
      absl::MutexLock lock(&mu_);
      if (complete_) return Preparation::kDone;
      if (IsAhead()) return Preparation::kAhead;
    }
    std::vector<Driving::Frame> frames;
    const auto event = driving_->ReadFrame(&frames);
    if (!event.ok()) return event.status();
    const bool end = *event == Driving::Event::kEnd;
    if (auto status = TakeIn(std::move(frames), end); !status.ok()) return status;
    if (end) return Preparation::kDone;
    if (*event == Driving::Event::kNeedsInput) return Preparation::kNeedsInput;
  }
  return Preparation::kMore;
}

absl::Status ReenactorJob::TakeIn(std::vector<Driving::Frame> frames, bool end) {
  std::optional<RowPlan> rows;
  {
    absl::MutexLock lock(&mu_);
    for (Driving::Frame& frame : frames) {
      if (grows()) feed_.AddFrame(frame.arrived);
      frames_.Append(std::move(frame));
    }
    live_status_.frames_in = live() ? driving_->num_frames() : 0;
    const VideoInfo& info = driving_->info();
    if (end) {
      frames_.Finish(std::max<int64_t>(
          1, int64_t{info.time_base_den} / (int64_t{info.time_base_num} * kSingleFrameRate)));
      feed_.Finish();
    }
    plan_.num_frames =
        std::max(frames_.count(), end || live() ? 0
                                                : static_cast<int>(std::min<int64_t>(
                                                      info.num_frames_hint, options_.max_frames)));
    if (!started_ && grows()) {
      if (auto first = feed_.NextRow(absl::Now(), 0)) {
        rows = feed_.plan();
        rows->rows = {*std::move(first)};
      }
    }
    if (!started_ && !grows() && end) {
      auto all =
          PlanRows(frames_.count(), model_.info().frames_per_row, request_.plan, request_.seed);
      if (!all.ok()) return all.status();
      rows = *std::move(all);
    }
  }
  if (rows.has_value()) {
    if (auto status = Start(*std::move(rows)); !status.ok()) return status;
  }
  if (!end) return absl::OkStatus();
  summary_.frames_in = driving_->num_frames();
  summary_.frame_notes = driving_->frame_notes();
  summary_.frame_faces = driving_->frame_faces();
  summary_.notes.insert(summary_.notes.end(), driving_->notes().begin(), driving_->notes().end());
  summary_.decode_time = driving_->decode_time();
  summary_.landmark_time = driving_->landmark_time();
  {
    absl::MutexLock lock(&mu_);
    complete_ = true;
  }
  frames_.Complete();
  return absl::OkStatus();
}

absl::Status ReenactorJob::Start(RowPlan rows) {
  const absl::Time start = absl::Now();
  const BundleConfig& config = model_.bundle().config;
  auto schedule =
      Schedule::Create(config.schedule, config.num_train_steps, absl::StrCat(*request_.num_steps));
  if (!schedule.ok()) return schedule.status();
  auto conditions = model_.MakeConditions(
      sources_[0],
      [this](absl::Span<const int64_t> frames) { return frames_.landmarks(/*face=*/0, frames); },
      *request_.guidance_scale != 1);
  if (!conditions.ok()) return conditions.status();
  const int num_rows = static_cast<int>(rows.rows.size());
  const auto form = ChooseTraceForm(num_rows);
  if (!form.ok()) return form.status();

  SamplingOptions options;
  options.prediction = config.prediction;
  options.sampler = *request_.sampler;
  options.ddim_eta = request_.ddim_eta;
  options.guidance_scale = *request_.guidance_scale;
  RowSchedule::Options order;
  order.form = *form;
  order.max_active_rows = options_.max_active_rows;
  // The first frames are those of row 0: they are there soonest if it runs alone.
  order.max_first_rows = grows() ? 1 : options_.max_active_rows;
  const int64_t channels = config.sdit.latent_channels;
  const int64_t size = config.sdit.latent_size;
  const int num_padding_slots = rows.num_padding_slots;
  const int num_steps = schedule->size();
  auto denoiser = TraceDenoiser::Create(
      model_.executor(), *std::move(schedule), std::move(rows), *std::move(conditions),
      [seed = request_.seed, channels, size](int frame, int step) {
        return FrameNoise(seed, static_cast<uint64_t>(frame), static_cast<uint64_t>(step),
                          {channels, size, size});
      },
      options, order, /*complete=*/!grows());
  if (!denoiser.ok()) return denoiser.status();
  denoiser_.emplace(*std::move(denoiser));
  if (auto status = rendering_.Start(driving_->info(), driving_->TakeAudio()); !status.ok()) {
    return status;
  }
  summary_.audio_copied = rendering_.audio_copied();
  summary_.embed_time += absl::Now() - start;

  absl::MutexLock lock(&mu_);
  started_ = true;
  num_rows_ = open_rows_ = plan_.num_rows = num_rows;
  plan_.num_padding_slots = num_padding_slots;
  plan_.num_steps = num_steps;
  plan_.gflop_per_row_step = TraceDenoiser::GflopPerRowStep(config.sdit, options.guided());
  recomputed_ = grows() && *form != TraceForm::kRetained;
  if (!grows()) plan_.total_steps = denoiser_->total_row_steps();
  return absl::OkStatus();
}

JobPlan ReenactorJob::plan() const {
  absl::MutexLock lock(&mu_);
  JobPlan plan = plan_;
  plan.complete = complete_ && (!grows() || feed_.done());
  if (!grows() || !started_) return plan;
  plan.num_padding_slots = feed_.num_padding_slots();
  plan.num_rows = num_rows_;
  if (!plan.complete) {
    // What waits, and what the container says will come.
    const int others = std::max(model_.info().frames_per_row - 1, 1);
    plan.num_rows = std::max(num_rows_ + (feed_.num_waiting() + others - 1) / others,
                             live() ? 0 : (plan.num_frames - 1 + others - 1) / others);
  }
  int64_t rows = plan.num_rows;
  if (recomputed_) {
    const int followers = options_.max_active_rows - 1;
    rows += std::max(0, (plan.num_rows - 1 + followers - 1) / followers - 1);
  }
  plan.total_steps = IsDenoised() ? steps_done_.load() : rows * plan.num_steps;
  return plan;
}

LiveStatus ReenactorJob::live_status() const {
  if (!live()) return {};
  const Rendering::Pace pace = rendering_.pace();
  absl::MutexLock lock(&mu_);
  LiveStatus status = live_status_;
  status.lag = pace.lag;
  status.real_time_ratio = pace.real_time_ratio;
  return status;
}

absl::StatusOr<TraceForm> ReenactorJob::ChooseTraceForm(int num_rows) {
  using Trace = ReenactorOptions::Trace;
  if (options_.trace == Trace::kLockStep) return TraceForm::kLockStep;
  if (options_.trace == Trace::kRecomputed) return TraceForm::kRecomputed;
  const int64_t bytes = TraceDenoiser::RetainedBytes(model_.executor(), *request_.num_steps,
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
  return !grows() && num_rows <= options_.max_active_rows ? TraceForm::kLockStep
                                                          : TraceForm::kRecomputed;
}

bool ReenactorJob::IsDenoised() const {
  return complete_ && started_ && open_rows_ == 0 && (!grows() || feed_.done());
}

bool ReenactorJob::denoised() const {
  absl::MutexLock lock(&mu_);
  return IsDenoised();
}

RowDemand ReenactorJob::row_demand() {
  std::vector<std::vector<RowSlot>> rows;
  bool all = false;
  {
    absl::MutexLock lock(&mu_);
    if (!started_ || !denoiser_.has_value()) return {};
    if (grows()) {
      const absl::Time now = absl::Now();
      while (auto row = feed_.NextRow(now, open_rows_)) {
        rows.push_back(*std::move(row));
        ++num_rows_;
        ++open_rows_;
      }
      for (const int frame : feed_.TakeSkipped()) {
        frames_.Skip(frame);
        if (++live_status_.frames_skipped <= kMaxSkipNotes) {
          skip_notes_.push_back({frame, "skipped, the frame before is shown"});
        }
      }
      all = feed_.done();
    }
  }
  for (auto& row : rows) denoiser_->AddRow(std::move(row));
  if (all) denoiser_->Complete();
  return denoiser_->demand();
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
  ++steps_run_;
  const int open_rows = denoiser_->num_open_rows();
  if (denoiser_->done()) {
    denoiser_.reset();
    retained_ = {};
  }
  rendering_.AddLatents(/*face=*/0, *std::move(finished));
  absl::MutexLock lock(&mu_);
  open_rows_ = open_rows;
  steps_done_ += num_rows;
  return absl::OkStatus();
}

bool ReenactorJob::renderable() const { return rendering_.renderable(); }

absl::StatusOr<std::vector<Output>> ReenactorJob::Render() { return rendering_.Render(cancelled_); }

JobSummary ReenactorJob::Summary() const {
  JobSummary summary = summary_;
  summary.notes.insert(summary.notes.begin(), sources_[0].notes.begin(), sources_[0].notes.end());
  summary.frames_out = rendering_.frames_done();
  summary.steps_run = steps_run_;
  summary.rows_run = steps_done_;
  summary.live = live_status();
  absl::MutexLock lock(&mu_);
  summary.frame_notes.insert(summary.frame_notes.end(), skip_notes_.begin(), skip_notes_.end());
  std::stable_sort(summary.frame_notes.begin(), summary.frame_notes.end(),
                   [](const FrameNote& a, const FrameNote& b) { return a.frame < b.frame; });
  if (live_status_.frames_skipped > kMaxSkipNotes) {
    summary.notes.push_back(absl::StrCat("only the first ", kMaxSkipNotes, " of ",
                                         live_status_.frames_skipped,
                                         " skipped frames are listed"));
  }
  summary.bytes_out = rendering_.bytes_out();
  summary.decode_time += sources_[0].decode_time;
  summary.landmark_time += sources_[0].landmark_time;
  summary.embed_time += sources_[0].embed_time;
  summary.denoise_time = denoise_time_;
  summary.render_time = rendering_.time();
  return summary;
}

}  // namespace reenact
