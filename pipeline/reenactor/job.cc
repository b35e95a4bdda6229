#include "pipeline/reenactor/job.h"

#include <algorithm>
#include <cstddef>
#include <numeric>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "absl/types/span.h"
#include "pipeline/anchored/row_shares.h"
#include "pipeline/engine/trace_denoiser.h"
#include "pipeline/reenactor/face_selection.h"
#include "pipeline/reenactor/guard.h"
#include "pipeline/reenactor/job_request.h"

namespace reenact {
namespace {

// Frames read by one call of Prepare.
constexpr int kFramesPerPreparation = 8;

// Rows of a job that grows which are read before they can be denoised.
constexpr int kRowsAhead = 3;

// Skipped frames that are named one by one in the summary.
constexpr int64_t kMaxSkipNotes = 1000;

}  // namespace

absl::StatusOr<std::unique_ptr<ReenactorJob>> ReenactorJob::Create(const Model& model,
                                                                   const ReenactorOptions& options,
                                                                   TraceBudget& budget,
                                                                   const JobRequest& request) {
  if (auto status = CheckRequest(request, model.info()); !status.ok()) return status;
  std::unique_ptr<ReenactorJob> job(new ReenactorJob(model, options, budget, request));
  const absl::Status status = CatchErrors("reading the source", [&]() -> absl::Status {
    if (request.source.video.empty()) return job->ReadSources();
    auto video = model.OpenSourceVideo(request);
    if (!video.ok()) return video.status();
    job->source_video_ = *std::move(video);
    return absl::OkStatus();
  });
  if (!status.ok()) return status;
  job->request_.source.video = {};
  return job;
}

absl::Status ReenactorJob::ReadSourceVideo() {
  const auto more = source_video_->ReadFrame();
  if (!more.ok()) {
    return absl::Status(more.status().code(),
                        absl::StrCat("source.video: ", more.status().message()));
  }
  if (*more) return absl::OkStatus();
  if (auto status = ReadSources(); !status.ok()) return status;
  source_video_.reset();
  if (!early_bytes_.empty()) {
    if (auto status = driving_->AddBytes(early_bytes_); !status.ok()) return status;
    early_bytes_ = {};
  }
  for (LiveFrame& frame : early_frames_) {
    if (auto status = driving_->AddFrame(std::move(frame)); !status.ok()) return status;
  }
  early_frames_ = {};
  return early_end_ ? driving_->Finish() : absl::OkStatus();
}

absl::Status ReenactorJob::ReadSources() {
  auto landmarker = model_.NewFaceLandmarker();
  if (!landmarker.ok()) return landmarker.status();
  auto sources = model_.EmbedSources(request_, **landmarker, source_video_.get());
  if (!sources.ok()) return sources.status();
  sources_ = *std::move(sources);
  std::vector<Driving::Face> faces;
  for (size_t i = 0; i < sources_.size(); ++i) {
    MotionOptions motion = request_.motion;
    motion.mode = request_.motion_mode.value_or(
        sources_[i].landmarks.has_value() ? MotionMode::kRelative : MotionMode::kAbsolute);
    SmoothingOptions smoothing;
    smoothing.strength = request_.smoothing;
    auto moves = DriverMotion::Create(sources_[i].landmarks, motion, smoothing);
    if (!moves.ok()) {
      return absl::Status(moves.status().code(),
                          absl::StrCat(PrefixOf(request_, i, "source"), moves.status().message()));
    }
    auto choice = ToFaceChoice(DriverFaceOf(request_, i), FieldOf(i, "driver_face"), **landmarker,
                               options_.max_image_pixels);
    if (!choice.ok()) return choice.status();
    std::string name = NumFaces(request_) == 1 ? "" : FieldOf(i, "driver_face");
    faces.push_back({*std::move(choice), *std::move(moves), std::move(name)});
  }
  driving_.emplace(DrivingOptions(), *std::move(landmarker), std::move(faces));

  const auto forget = [](SourceRequest& source, FaceSelection& driver_face) {
    source.image = {};
    source.face.reference_image = {};
    driver_face.reference_image = {};
  };
  forget(request_.source, request_.driver_face);
  for (FacePair& pair : request_.further_faces) forget(pair.source, pair.driver_face);
  return absl::OkStatus();
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

Driving::Options ReenactorJob::DrivingOptions() const {
  Driving::Options driving;
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
  if (source_video_ != nullptr) {
    const auto limit = static_cast<size_t>(options_.max_driving_bytes);
    if (bytes.size() > limit || early_bytes_.size() > limit - bytes.size()) {
      return absl::ResourceExhaustedError(
          absl::StrCat("the driving media is larger than ", limit, " bytes"));
    }
    early_bytes_.append(bytes);
    return absl::OkStatus();
  }
  return CatchErrors("receiving the driving media", [&] { return driving_->AddBytes(bytes); });
}

absl::Status ReenactorJob::AddFrame(LiveFrame frame) {
  if (source_video_ != nullptr) {
    early_frames_.push_back(std::move(frame));
    return absl::OkStatus();
  }
  return driving_->AddFrame(std::move(frame));
}

absl::Status ReenactorJob::FinishDriving() {
  if (source_video_ == nullptr) return driving_->Finish();
  early_end_ = true;
  return absl::OkStatus();
}

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
    if (source_video_ != nullptr) {
      if (auto status = ReadSourceVideo(); !status.ok()) return status;
      continue;
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
  std::optional<ClipPlan> plan;
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
        plan.emplace().rows = feed_.plan();
        plan->rows.rows = {*std::move(first)};
      }
    }
    if (!started_ && !grows() && end) {
      auto all = PlanClip(request_, frames_.count(), model_.info().frames_per_row, SceneCuts());
      if (!all.ok()) return all.status();
      plan = *std::move(all);
    }
  }
  if (plan.has_value()) {
    if (auto status = Start(*plan); !status.ok()) return status;
  }
  if (!end) return absl::OkStatus();
  Summarize();
  {
    absl::MutexLock lock(&mu_);
    complete_ = true;
  }
  frames_.Complete();
  return absl::OkStatus();
}

std::vector<int> ReenactorJob::SceneCuts() const {
  // A cut is one of the picture, and so of every face.
  const std::vector<FrameFace>& records = driving_->faces().front().records();
  std::vector<int> cuts;
  for (size_t frame = 1; frame < records.size(); ++frame) {
    if (records[frame].cut) cuts.push_back(static_cast<int>(frame));
  }
  return cuts;
}

void ReenactorJob::Summarize() {
  summary_.frames_in = driving_->num_frames();
  for (const DrivenFace& face : driving_->faces()) {
    summary_.frame_notes.insert(summary_.frame_notes.end(), face.notes().begin(),
                                face.notes().end());
    if (&face == &driving_->faces().front()) {
      summary_.frame_faces = face.records();
    } else {
      summary_.further_frame_faces.push_back(face.records());
    }
  }
  summary_.notes.insert(summary_.notes.end(), driving_->notes().begin(), driving_->notes().end());
  summary_.decode_time = driving_->decode_time();
  summary_.landmark_time = driving_->landmark_time();
}

absl::Status ReenactorJob::Start(const ClipPlan& plan) {
  const absl::Time start = absl::Now();
  const FaceClip::Shared shared = {model_, options_, request_, sources_, frames_, budget_};
  int64_t total_steps = 0;
  const int num_rows = plan.num_rows();
  for (size_t face = 0; face < sources_.size(); ++face) {
    auto clip = FaceClip::Start(shared, face, plan, /*complete=*/!grows());
    if (!clip.ok()) return clip.status();
    clips_.push_back(*std::move(clip));
    total_steps += clips_.back().total_row_steps(num_rows);
  }
  if (auto status = rendering_.Start(driving_->info(), driving_->TakeAudio()); !status.ok()) {
    return status;
  }
  summary_.audio_copied = rendering_.audio_copied();
  summary_.embed_time += absl::Now() - start;

  if (!plan.rows.linked_scenes.empty()) {
    summary_.notes.push_back(absl::StrCat(plan.rows.linked_scenes.size() + 1,
                                          " scenes, each with an anchor frame of its own"));
  }

  const int num_faces = static_cast<int>(sources_.size());
  SDiTConfig row = model_.bundle().config.sdit;
  row.num_frames = plan.frames_per_row();
  absl::MutexLock lock(&mu_);
  started_ = true;
  num_rows_ = open_rows_ = num_rows;
  plan_.num_rows = num_rows * num_faces;
  plan_.num_padding_slots = plan.num_padding_slots() * num_faces;
  plan_.num_steps = *request_.num_steps;
  plan_.gflop_per_row_step = TraceDenoiser::GflopPerRowStep(row, *request_.guidance_scale != 1);
  if (!grows()) plan_.total_steps = total_steps;
  return absl::OkStatus();
}

JobPlan ReenactorJob::plan() const {
  absl::MutexLock lock(&mu_);
  JobPlan plan = plan_;
  plan.complete = complete_ && (!grows() || feed_.done());
  if (!grows() || !started_) return plan;
  int rows = num_rows_;  // of one face
  if (!plan.complete) {
    // What waits, and what the container says will come.
    const int others = std::max(model_.info().frames_per_row - 1, 1);
    rows = std::max(num_rows_ + (feed_.num_waiting() + others - 1) / others,
                    live() ? 0 : (plan.num_frames - 1 + others - 1) / others);
  }
  const int num_faces = static_cast<int>(clips_.size());
  plan.num_rows = rows * num_faces;
  plan.num_padding_slots = feed_.num_padding_slots() * num_faces;
  plan.total_steps = 0;
  for (const FaceClip& clip : clips_) plan.total_steps += clip.total_row_steps(rows);
  if (IsDenoised()) plan.total_steps = steps_done_.load();
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
    if (!started_) return {};
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
  for (FaceClip& clip : clips_) {
    for (const auto& row : rows) clip.AddRow(row);
    if (all) clip.Complete();
  }
  return SumOfDemands(DemandsOf(FacesInOrder()));
}

std::vector<size_t> ReenactorJob::FacesInOrder() const {
  std::vector<size_t> faces(clips_.size());
  std::iota(faces.begin(), faces.end(), size_t{0});
  std::stable_sort(faces.begin(), faces.end(), [this](size_t a, size_t b) {
    return clips_[a].row_steps_done() < clips_[b].row_steps_done();
  });
  return faces;
}

std::vector<RowDemand> ReenactorJob::DemandsOf(const std::vector<size_t>& faces) const {
  std::vector<RowDemand> demands;
  demands.reserve(faces.size());
  for (const size_t face : faces) demands.push_back(clips_[face].demand());
  return demands;
}

absl::StatusOr<std::vector<ClipDenoiser::Share>> ReenactorJob::BeginStep(int num_rows) {
  {
    absl::MutexLock lock(&mu_);
    if (!started_ || IsDenoised()) {
      return absl::FailedPreconditionError("the job is not prepared or has been denoised already");
    }
  }
  const std::vector<size_t> faces = FacesInOrder();
  const std::vector<RowDemand> demands = DemandsOf(faces);
  const RowDemand demand = SumOfDemands(demands);
  if (num_rows < demand.min_rows || num_rows > demand.max_rows) {
    return absl::InternalError(
        absl::StrCat(num_rows, " rows in a step of ", demand.min_rows, "..", demand.max_rows));
  }
  const std::vector<int> counts = ShareRows(demands, num_rows);
  parts_.clear();
  std::vector<ClipDenoiser::Share> shares;
  for (size_t i = 0; i < faces.size(); ++i) {
    if (counts[i] == 0) continue;
    parts_.push_back({faces[i], counts[i]});
    shares.push_back(clips_[faces[i]].share(counts[i]));
  }
  return shares;
}

absl::Status ReenactorJob::EndStep(std::vector<absl::StatusOr<std::vector<FinishedFrame>>> finished,
                                   absl::Duration duration) {
  denoise_time_ += duration;
  for (const auto& part : finished) {
    if (!part.ok()) return part.status();
  }
  ++steps_run_;
  int num_rows = 0;
  for (size_t i = 0; i < parts_.size(); ++i) {
    num_rows += parts_[i].num_rows;
    clips_[parts_[i].face].EndStep();
    rendering_.AddLatents(parts_[i].face, *std::move(finished[i]));
  }
  int open_rows = 0;
  for (const FaceClip& clip : clips_) open_rows = std::max(open_rows, clip.num_open_rows());
  absl::MutexLock lock(&mu_);
  open_rows_ = open_rows;
  steps_done_ += num_rows;
  return absl::OkStatus();
}

bool ReenactorJob::renderable() const { return rendering_.renderable(); }

absl::StatusOr<std::vector<Output>> ReenactorJob::Render() { return rendering_.Render(cancelled_); }

JobSummary ReenactorJob::Summary() const {
  JobSummary summary = summary_;
  summary.notes.clear();
  for (const EmbeddedSource& source : sources_) {
    summary.notes.insert(summary.notes.end(), source.notes.begin(), source.notes.end());
    summary.decode_time += source.decode_time;
    summary.landmark_time += source.landmark_time;
    summary.embed_time += source.embed_time;
  }
  summary.notes.insert(summary.notes.end(), summary_.notes.begin(), summary_.notes.end());
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
  summary.denoise_time = denoise_time_;
  summary.render_time = rendering_.time();
  return summary;
}

}  // namespace reenact
