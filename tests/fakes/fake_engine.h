// An engine that takes no time and generates text instead of pictures. Hooks decide what fails and
// what waits. It checks the promises that server/ makes in pipeline/engine.h and counts what breaks
// them.
#pragma once

#include <algorithm>
#include <atomic>
#include <deque>
#include <functional>
#include <limits>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "base/mutex.h"
#include "pipeline/engine.h"
#include "tests/fakes/gate.h"

namespace reenact::testing {

inline ModelInfo FakeModel(std::string name = "fake") {
  ModelInfo model;
  model.name = std::move(name);
  model.bundle_sha256 = std::string(64, 'a');
  model.licence = "Apache-2.0";
  model.image_size = 64;
  model.frames_per_row = 4;
  model.samplers = {Sampler::kDdim};
  model.default_sampler = Sampler::kDdim;
  model.default_num_steps = 3;
  model.max_num_steps = 1000;
  model.default_guidance_scale = 1;
  model.accepts_image = true;
  model.accepts_text = false;
  model.max_driving_bytes = 1 << 20;
  model.max_frames = 100000;
  model.max_image_pixels = 1'000'000;
  model.max_output_size = 256;
  model.device = "cpu";
  return model;
}

// How a job's rows may be stepped.
struct FakeShape {
  enum class Kind {
    kSequential,  // one row after the other: 1 row a step
    kRetained,    // row 0 alone, then any of the others: 1 row or more a step
    kLockStep,    // groups of `width` rows that stay together, row 0 repeated in each
  };
  Kind kind = Kind::kSequential;
  int width = 2;  // kLockStep: 2 or more
};

// How a job grows: it is stepped while it is being read. Frames are read one a Prepare call and
// fill rows of Options::frames_per_row in their order; kSequential and kRetained only.
struct FakeGrowth {
  // Bytes of driving media that make a frame; of a live job, each LiveFrame is one.
  size_t driving_bytes_per_frame = 1;
  // Prepare is ahead while this many rows wait to be denoised to their end. Live frames that are
  // read meanwhile are left out (SkipPolicy::kSkip) or wait.
  int max_rows_ahead = 2;
};

// Thread-safe as pipeline/engine.h says, and beyond it where a test needs it.
class FakeEngine final : public Engine {
 public:
  struct Options {
    std::vector<ModelInfo> models = {FakeModel()};
    int num_frames = 8;
    // A row is denoised after num_steps steps; then this many frames of it can be rendered, those
    // of earlier rows first.
    int frames_per_row = 4;
    // Work of a row step (JobPlan::gflop_per_row_step).
    double gflop_per_row_step = 0;
    // Size of a fragment per frame.
    size_t bytes_per_frame = 10;

    // Called before the engine does the thing; a hook may wait. Null: OK. on_prepare: before it
    // plans the first row; on_prepare_call: at every Prepare.
    std::function<absl::Status(const JobRequest&)> on_create;
    std::function<absl::Status(const JobRequest&, const std::string& driving)> on_prepare;
    std::function<void(const JobRequest&)> on_prepare_call;
    std::function<absl::Status(const JobRequest&, int64_t step)> on_step;
    std::function<absl::Status(const JobRequest&)> on_render;
    std::function<void(const JobRequest&)> on_cancel;
    // As on_create and on_prepare_call, of ExtractMotion and MotionExtraction::Read.
    std::function<absl::Status(const MotionRequest&)> on_extract;
    std::function<absl::Status(const MotionRequest&)> on_read;
    // Runs when an extraction is cancelled, on the thread that does.
    std::function<void(const MotionRequest&)> on_cancel_read;
    // Runs when an object of the engine's is destroyed, on the thread that does.
    std::function<void(const JobRequest&)> on_job_gone;
    std::function<void(const MotionRequest&)> on_extraction_gone;
    // Number of frames and shape of a job. Null: num_frames and the default shape.
    std::function<int(const JobRequest&)> frames_of;
    std::function<FakeShape(const JobRequest&)> shape_of;
    // How the job grows; empty: its rows are planned when all driving media is there. Null: live
    // jobs grow as FakeGrowth says, others do not.
    std::function<std::optional<FakeGrowth>(const JobRequest&)> growth_of;
    // Prepare calls that a job that does not grow takes once all driving media is there.
    int prepare_calls = 1;
    // The clock behind LiveStatus::lag. Null: the real one.
    std::function<absl::Time()> now;
    // Called with the jobs of a step, before it.
    std::function<void(const std::vector<std::pair<std::string, int>>& rows_by_job)> on_step_begin;
  };

  explicit FakeEngine(Options options) : options_(std::move(options)) {}
  FakeEngine() : FakeEngine(Options{}) {}

  const std::vector<ModelInfo>& models() const override { return options_.models; }

  absl::StatusOr<std::unique_ptr<EngineJob>> CreateJob(const JobRequest& request) override {
    if (options_.on_create) {
      if (const absl::Status status = options_.on_create(request); !status.ok()) return status;
    }
    return std::make_unique<FakeJob>(*this, request);
  }

  absl::StatusOr<std::unique_ptr<MotionExtraction>> ExtractMotion(
      const MotionRequest& request) override {
    if (options_.on_extract) {
      if (const absl::Status status = options_.on_extract(request); !status.ok()) return status;
    }
    return std::make_unique<FakeExtraction>(*this, request);
  }

  std::vector<absl::Status> Step(absl::Span<const StepShare> shares) override {
    Expect(!stepping_.exchange(true), "two Step calls at a time");
    std::set<EngineJob*> jobs;
    for (const StepShare& share : shares) {
      Expect(jobs.insert(share.job).second, "a job twice in one Step");
      const RowDemand demand = share.job->row_demand();
      Expect(share.num_rows >= std::max(demand.min_rows, 1) && share.num_rows <= demand.max_rows,
             "a step of more or fewer rows than a job can use");
    }
    if (options_.on_step_begin) {
      std::vector<std::pair<std::string, int>> rows_by_job;
      for (const StepShare& share : shares) {
        rows_by_job.emplace_back(static_cast<FakeJob*>(share.job)->id(), share.num_rows);
      }
      options_.on_step_begin(rows_by_job);
    }
    {
      MutexLock lock(&mu_);
      batch_sizes_.push_back(static_cast<int>(shares.size()));
    }
    std::vector<absl::Status> statuses;
    for (const StepShare& share : shares) {
      statuses.push_back(static_cast<FakeJob*>(share.job)->Step(share.num_rows));
    }
    stepping_ = false;
    return statuses;
  }

  // --- What the test asks ---

  // Job objects that exist.
  int num_alive() const {
    MutexLock lock(&mu_);
    return num_alive_;
  }
  // Waits until `num` job objects exist. False: that never was.
  bool AwaitAlive(int num) const {
    MutexLock lock(&mu_);
    const auto reached = [&]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) { return num_alive_ == num; };
    return mu_.AwaitWithTimeout(absl::Condition(&reached), kTestTimeout);
  }
  // Jobs of each Step call so far.
  std::vector<int> batch_sizes() const {
    MutexLock lock(&mu_);
    return batch_sizes_;
  }
  int64_t num_renders() const {
    MutexLock lock(&mu_);
    return num_renders_;
  }
  // Waits until at least `num` Step calls have begun.
  bool AwaitSteps(size_t num) const {
    MutexLock lock(&mu_);
    const auto reached = [&]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) {
      return batch_sizes_.size() >= num;
    };
    return mu_.AwaitWithTimeout(absl::Condition(&reached), kTestTimeout);
  }
  // Promises of pipeline/engine.h that were broken; must be empty.
  std::vector<std::string> violations() const {
    MutexLock lock(&mu_);
    return violations_;
  }

  // Extractions that exist.
  int num_extractions() const {
    MutexLock lock(&mu_);
    return num_extractions_;
  }

 private:
  // A template of one piece of text per frame, a frame per byte of the driving media.
  class FakeExtraction final : public MotionExtraction {
   public:
    FakeExtraction(FakeEngine& engine, const MotionRequest& request)
        : engine_(engine), request_(request) {
      MutexLock lock(&engine_.mu_);
      ++engine_.num_extractions_;
    }
    ~FakeExtraction() override {
      engine_.Expect(!busy_, "an extraction destroyed inside one of its calls");
      if (engine_.options_.on_extraction_gone) engine_.options_.on_extraction_gone(request_);
      MutexLock lock(&engine_.mu_);
      --engine_.num_extractions_;
    }

    absl::Status AddBytes(std::string_view bytes) override {
      engine_.Expect(!busy_.exchange(true), "two calls of an extraction at a time");
      engine_.Expect(!finished_, "driving media after its end");
      driving_.append(bytes);
      busy_ = false;
      if (static_cast<int64_t>(driving_.size()) <= engine_.options_.models[0].max_driving_bytes) {
        return absl::OkStatus();
      }
      return absl::ResourceExhaustedError("the driving media is too long");
    }
    absl::Status Finish() override {
      engine_.Expect(!std::exchange(finished_, true), "two ends of the driving media");
      if (driving_.empty()) return absl::InvalidArgumentError("no driving media was sent");
      return absl::OkStatus();
    }
    absl::StatusOr<Reading> Read(std::string* bytes) override {
      engine_.Expect(!busy_.exchange(true), "two calls of an extraction at a time");
      const auto reading = ReadSome(bytes);
      busy_ = false;
      return reading;
    }
    void Cancel() override {
      cancelled_ = true;
      if (engine_.options_.on_cancel_read) engine_.options_.on_cancel_read(request_);
    }
    MotionSummary Summary() const override {
      MotionSummary summary;
      summary.frames = static_cast<int64_t>(driving_.size());
      summary.frames_with_face = summary.frames - 1;
      summary.bytes_out = bytes_out_;
      summary.audio_copied = request_.copy_audio;
      summary.frame_notes = {{0, "no face found"}};
      summary.notes = {"a note"};
      return summary;
    }

   private:
    absl::StatusOr<Reading> ReadSome(std::string* bytes) {
      if (engine_.options_.on_read) {
        if (const absl::Status status = engine_.options_.on_read(request_); !status.ok()) {
          return status;
        }
      }
      if (cancelled_) return absl::CancelledError("Cancel was called");
      if (!finished_) return Reading::kNeedsInput;
      std::string piece = absl::StrCat("motion ", frames_, ";");
      piece.resize(std::max(piece.size(), engine_.options_.bytes_per_frame), '.');
      bytes_out_ += static_cast<int64_t>(piece.size());
      bytes->append(piece);
      return ++frames_ == driving_.size() ? Reading::kDone : Reading::kMore;
    }

    FakeEngine& engine_;
    const MotionRequest request_;
    std::string driving_;
    bool finished_ = false;
    size_t frames_ = 0;
    int64_t bytes_out_ = 0;
    std::atomic<bool> busy_{false};
    std::atomic<bool> cancelled_{false};
  };

  class FakeJob final : public EngineJob {
   public:
    FakeJob(FakeEngine& engine, const JobRequest& request)
        : engine_(engine),
          request_(request),
          growth_(engine.GrowthOf(request)),
          shape_(engine.options_.shape_of ? engine.options_.shape_of(request) : FakeShape{}) {
      MutexLock lock(&engine_.mu_);
      ++engine_.num_alive_;
    }
    ~FakeJob() override {
      engine_.Expect(num_calls_ == 0, "a job destroyed inside one of its calls");
      if (engine_.options_.on_job_gone) engine_.options_.on_job_gone(request_);
      MutexLock lock(&engine_.mu_);
      --engine_.num_alive_;
    }

    absl::Status AddDriving(std::string_view bytes) override {
      const Call call(*this, preparing_, "two preparation calls at a time");
      MutexLock lock(&mu_);
      engine_.Expect(!request_.live.has_value() && !finished_, "media that is out of place");
      engine_.Expect(!ahead_, "media for an engine that is ahead");
      driving_.append(bytes);
      if (static_cast<int64_t>(driving_.size()) > engine_.options_.models[0].max_driving_bytes) {
        return absl::ResourceExhaustedError("the driving media is too long");
      }
      return absl::OkStatus();
    }

    absl::Status AddFrame(LiveFrame frame) override {
      const Call call(*this, preparing_, "two preparation calls at a time");
      MutexLock lock(&mu_);
      engine_.Expect(request_.live.has_value() && !finished_, "a frame that is out of place");
      engine_.Expect(!ahead_, "a frame for an engine that is ahead");
      if (frame.pts <= last_pts_) {
        return absl::InvalidArgumentError(
            absl::StrCat("driving_frame.pts is ", frame.pts, ", must be above ", last_pts_));
      }
      last_pts_ = frame.pts;
      unread_.push_back(std::move(frame));
      return absl::OkStatus();
    }

    absl::Status FinishDriving() override {
      const Call call(*this, preparing_, "two preparation calls at a time");
      MutexLock lock(&mu_);
      engine_.Expect(!finished_, "two ends of the driving media");
      finished_ = true;
      return absl::OkStatus();
    }

    absl::StatusOr<Preparation> Prepare() override {
      const Call call(*this, preparing_, "two preparation calls at a time");
      if (engine_.options_.on_prepare_call) engine_.options_.on_prepare_call(request_);
      if (cancelled_) return absl::CancelledError("Cancel was called");
      const absl::StatusOr<Preparation> result = growth_.has_value() ? ReadSome() : ReadAll();
      if (result.ok()) {
        MutexLock lock(&mu_);
        ahead_ = *result == Preparation::kAhead;
      }
      return result;
    }

    void Cancel() override {
      cancelled_ = true;
      if (engine_.options_.on_cancel) engine_.options_.on_cancel(request_);
    }
    const std::string& id() const { return request_.job_id; }

    JobPlan plan() const override {
      MutexLock lock(&mu_);
      return plan_;
    }
    LiveStatus live_status() const override {
      MutexLock lock(&mu_);
      return live_status_;
    }
    RowDemand row_demand() override {
      MutexLock lock(&mu_);
      return Demand();
    }
    bool denoised() const override {
      MutexLock lock(&mu_);
      return Denoised();
    }
    int64_t steps_done() const override {
      MutexLock lock(&mu_);
      return steps_done_;
    }
    bool renderable() const override {
      MutexLock lock(&mu_);
      return frames_done_ < FramesReady() || (Denoised() && !rendered_);
    }
    bool rendered() const override {
      MutexLock lock(&mu_);
      return rendered_;
    }
    int64_t frames_done() const override {
      MutexLock lock(&mu_);
      return frames_done_;
    }

    absl::Status Step(int num_rows) {
      const Call call(*this, in_step_, "two steps of one job at a time");
      if (engine_.options_.on_step) {
        const absl::Status status = engine_.options_.on_step(request_, steps_done());
        if (!status.ok()) return status;
      }
      MutexLock lock(&mu_);
      engine_.Expect(Demand().max_rows > 0, "a step of a job that is not ready for one");
      ++steps_run_;
      Advance(num_rows);
      steps_done_ += num_rows;
      return absl::OkStatus();
    }

    absl::StatusOr<std::vector<Output>> Render() override {
      const Call call(*this, rendering_, "two Render calls of one job at a time");
      if (cancelled_) return absl::CancelledError("Cancel was called");
      engine_.Expect(renderable(), "Render without anything to do");
      {
        MutexLock lock(&engine_.mu_);
        ++engine_.num_renders_;
      }
      if (engine_.options_.on_render) {
        const absl::Status status = engine_.options_.on_render(request_);
        if (!status.ok()) return status;
      }
      MutexLock lock(&mu_);
      std::vector<Output> outputs;
      const bool frames_only = request_.format != OutputFormat::kFragmentedMp4;
      if (frames_done_ == 0 && !frames_only) {
        outputs.push_back({.kind = Output::Kind::kInitSegment,
                           .data = absl::StrCat("init ", request_.seed, ";")});
      }
      const bool all = Denoised();
      const int64_t frames_ready = FramesReady();
      while (frames_done_ < frames_ready) {
        Output output;
        output.kind = frames_only ? Output::Kind::kFrame : Output::Kind::kFragment;
        output.data = absl::StrCat("frame ", frames_done_, ";");
        output.data.resize(std::max(output.data.size(), engine_.options_.bytes_per_frame), '.');
        output.first_frame = frames_done_;
        output.num_frames = 1;
        output.pts = frames_done_ * 1001;
        output.time_base_num = 1;
        output.time_base_den = 30000;
        if (request_.live.has_value()) {
          const Frame& frame = frames_[static_cast<size_t>(frames_done_)];
          output.pts = frame.pts;
          output.time_base_num = request_.live->time_base_num;
          output.time_base_den = request_.live->time_base_den;
          output.repeated = frames_only && frame.repeated;
          live_status_.lag = engine_.Now() - frame.arrived;
        }
        if (frames_only) output.width = output.height = 64;
        outputs.push_back(std::move(output));
        ++frames_done_;
      }
      rendered_ = all && frames_done_ == plan_.num_frames;
      return outputs;
    }

    JobSummary Summary() const override {
      MutexLock lock(&mu_);
      engine_.Expect(rendered_, "Summary before everything else is over");
      JobSummary summary;
      summary.model = request_.model;
      summary.bundle_sha256 = std::string(64, 'a');
      summary.seed = request_.seed;
      summary.frames_in = plan_.num_frames;
      summary.frames_out = frames_done_;
      summary.steps_run = steps_run_;
      summary.rows_run = steps_done_;
      summary.live = live_status_;
      summary.frame_notes = {{1, "no face found, landmarks interpolated"}};
      summary.decode_time = absl::Milliseconds(1500);
      return summary;
    }

   private:
    // Marks a call as running, to find calls at the same time that must not be.
    class Call {
     public:
      Call(FakeJob& job, std::atomic<bool>& running, const char* problem)
          : job_(job), running_(running) {
        job_.engine_.Expect(!running_.exchange(true), problem);
        ++job_.num_calls_;
      }
      ~Call() {
        --job_.num_calls_;
        running_ = false;
      }
      Call(const Call&) = delete;
      Call& operator=(const Call&) = delete;

     private:
      FakeJob& job_;
      std::atomic<bool>& running_;
    };

    // A frame that has been read, of a job that grows.
    struct Frame {
      int row = 0;
      bool repeated = false;  // left out; `row` is that of the frame before
      int64_t pts = 0;
      absl::Time arrived;
    };

    // Prepare of a job that does not grow.
    absl::StatusOr<Preparation> ReadAll() ABSL_LOCKS_EXCLUDED(mu_) {
      {
        MutexLock lock(&mu_);
        if (!finished_) return Preparation::kNeedsInput;
        if (++num_prepare_calls_ < engine_.options_.prepare_calls) return Preparation::kMore;
      }
      if (const absl::Status status = BeforeFirstRow(); !status.ok()) return status;
      const Options& options = engine_.options_;
      MutexLock lock(&mu_);
      plan_.num_frames = options.frames_of ? options.frames_of(request_) : options.num_frames;
      SetRows((plan_.num_frames + options.frames_per_row - 1) / options.frames_per_row);
      plan_.num_padding_slots = plan_.num_rows * options.frames_per_row - plan_.num_frames;
      plan_.complete = true;
      return Preparation::kDone;
    }

    // Prepare of a job that grows: reads one frame.
    absl::StatusOr<Preparation> ReadSome() ABSL_LOCKS_EXCLUDED(mu_) {
      LiveFrame frame;
      bool is_frame = false, skip = false, row_begins = false;
      {
        MutexLock lock(&mu_);
        engine_.Expect(!plan_.complete, "Prepare after its end");
        if (!request_.live.has_value()) ReadFile();
        if (unread_.empty() && !finished_) return Preparation::kNeedsInput;
        is_frame = !unread_.empty();
        if (is_frame && plan_.num_rows - rows_ready_ >= growth_->max_rows_ahead) {
          if (!request_.live.has_value() || request_.live->skip == SkipPolicy::kWait) {
            return Preparation::kAhead;
          }
          skip = true;
        }
        if (is_frame) {
          frame = std::move(unread_.front());
          unread_.pop_front();
        }
        row_begins = plan_.num_rows == 0 &&
                     (!is_frame ||
                      static_cast<int>(row_frames_.size()) + 1 == engine_.options_.frames_per_row);
      }
      if (row_begins) {
        if (const absl::Status status = BeforeFirstRow(); !status.ok()) return status;
      }
      MutexLock lock(&mu_);
      if (!is_frame) {
        if (frames_.empty()) return absl::InvalidArgumentError("the driving media has no frames");
        if (!row_frames_.empty()) BeginRow();
        plan_.num_frames = static_cast<int>(frames_.size());
        plan_.complete = true;
        return Preparation::kDone;
      }
      if (request_.live.has_value()) {
        ++live_status_.frames_in;
        if (skip) ++live_status_.frames_skipped;
      }
      const int row = skip && row_frames_.empty() ? plan_.num_rows - 1 : plan_.num_rows;
      frames_.push_back({.row = row, .repeated = skip, .pts = frame.pts, .arrived = frame.arrived});
      plan_.num_frames = static_cast<int>(frames_.size());
      if (!skip) {
        row_frames_.push_back(frame.arrived);
        const bool waited = request_.live.has_value() && plan_.num_rows > 0 &&
                            frame.arrived - row_frames_.front() >= request_.live->max_wait;
        if (waited || static_cast<int>(row_frames_.size()) == engine_.options_.frames_per_row) {
          BeginRow();
        }
      }
      return Preparation::kMore;
    }

    // Turns bytes of a file into frames.
    void ReadFile() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) {
      while (driving_read_ + growth_->driving_bytes_per_frame <= driving_.size()) {
        driving_read_ += growth_->driving_bytes_per_frame;
        unread_.push_back({.image = "", .pts = ++last_pts_, .arrived = {}});
      }
    }

    absl::Status BeforeFirstRow() ABSL_LOCKS_EXCLUDED(mu_) {
      std::string driving;
      {
        MutexLock lock(&mu_);
        driving = driving_;
      }
      if (engine_.options_.on_prepare) {
        const absl::Status status = engine_.options_.on_prepare(request_, driving);
        if (!status.ok()) return status;
      }
      return cancelled_ ? absl::CancelledError("Cancel was called") : absl::OkStatus();
    }

    void BeginRow() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) {
      SetRows(plan_.num_rows + 1);
      row_frames_.clear();
    }

    void SetRows(int num_rows) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) {
      plan_.num_rows = num_rows;
      plan_.num_steps = request_.num_steps.value_or(engine_.options_.models[0].default_num_steps);
      plan_.gflop_per_row_step = engine_.options_.gflop_per_row_step;
      // In lock step, row 0 comes again with every further group.
      int64_t rows_in_all = num_rows;
      if (shape_.kind == FakeShape::Kind::kLockStep) rows_in_all += NumGroups() - 1;
      plan_.total_steps = rows_in_all * plan_.num_steps;
      if (shape_.kind == FakeShape::Kind::kRetained) {
        row_steps_.resize(static_cast<size_t>(num_rows));
      }
    }

    bool Denoised() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) {
      return plan_.complete && steps_done_ == plan_.total_steps;
    }

    RowDemand Demand() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) {
      if (steps_done_ == plan_.total_steps) return {};  // for now, or at its end
      switch (shape_.kind) {
        case FakeShape::Kind::kSequential:
          return {.min_rows = 1, .max_rows = 1};
        case FakeShape::Kind::kRetained: {
          if (row_steps_[0] < plan_.num_steps) return {.min_rows = 1, .max_rows = 1};
          const auto unfinished = std::count_if(
              row_steps_.begin(), row_steps_.end(),
              [this](int n) ABSL_NO_THREAD_SAFETY_ANALYSIS { return n < plan_.num_steps; });
          return {.min_rows = 1, .max_rows = static_cast<int>(unfinished)};
        }
        case FakeShape::Kind::kLockStep: {
          const int rows = RowsOfGroup(group_);
          return {.min_rows = rows, .max_rows = rows};
        }
      }
      return {};
    }

    // Runs one step of `num_rows` rows, those that come first in the video.
    void Advance(int num_rows) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) {
      switch (shape_.kind) {
        case FakeShape::Kind::kSequential:
          rows_ready_ = (steps_done_ + 1) / plan_.num_steps;
          break;
        case FakeShape::Kind::kRetained:
          for (int& steps : row_steps_) {
            if (num_rows > 0 && steps < plan_.num_steps) {
              ++steps;
              --num_rows;
            }
          }
          rows_ready_ = 0;
          for (const int steps : row_steps_) {
            if (steps < plan_.num_steps) break;
            ++rows_ready_;
          }
          break;
        case FakeShape::Kind::kLockStep:
          if (++group_steps_ < plan_.num_steps) break;
          group_steps_ = 0;
          rows_ready_ += RowsOfGroup(group_) - (group_ > 0 ? 1 : 0);
          ++group_;
      }
    }
    // Groups of the lock step form: row 0 and width - 1 others each.
    int NumGroups() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) {
      return std::max(1, (plan_.num_rows - 1 + shape_.width - 2) / (shape_.width - 1));
    }
    int RowsOfGroup(int group) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) {
      const int others = plan_.num_rows - 1 - group * (shape_.width - 1);
      return 1 + std::min(others, shape_.width - 1);
    }

    int64_t FramesReady() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) {
      if (!growth_.has_value()) {
        return std::min<int64_t>(rows_ready_ * engine_.options_.frames_per_row, plan_.num_frames);
      }
      size_t ready = static_cast<size_t>(frames_done_);
      while (ready < frames_.size() && frames_[ready].row < rows_ready_) ++ready;
      return static_cast<int64_t>(ready);
    }

    FakeEngine& engine_;
    const JobRequest request_;
    const std::optional<FakeGrowth> growth_;
    const FakeShape shape_;

    mutable Mutex mu_;
    std::string driving_ ABSL_GUARDED_BY(mu_);
    size_t driving_read_ ABSL_GUARDED_BY(mu_) = 0;
    std::deque<LiveFrame> unread_ ABSL_GUARDED_BY(mu_);
    int64_t last_pts_ ABSL_GUARDED_BY(mu_) = std::numeric_limits<int64_t>::min();
    bool finished_ ABSL_GUARDED_BY(mu_) = false;
    bool ahead_ ABSL_GUARDED_BY(mu_) = false;
    int num_prepare_calls_ ABSL_GUARDED_BY(mu_) = 0;
    JobPlan plan_ ABSL_GUARDED_BY(mu_);
    std::vector<Frame> frames_ ABSL_GUARDED_BY(mu_);           // read, of a job that grows
    std::vector<absl::Time> row_frames_ ABSL_GUARDED_BY(mu_);  // of the row that is not full
    LiveStatus live_status_ ABSL_GUARDED_BY(mu_);
    // kRetained: steps of each row; kLockStep: the group and its steps.
    std::vector<int> row_steps_ ABSL_GUARDED_BY(mu_);
    int group_ ABSL_GUARDED_BY(mu_) = 0;
    int group_steps_ ABSL_GUARDED_BY(mu_) = 0;
    int64_t steps_run_ ABSL_GUARDED_BY(mu_) = 0;
    int64_t steps_done_ ABSL_GUARDED_BY(mu_) = 0;
    int64_t rows_ready_ ABSL_GUARDED_BY(mu_) = 0;
    int64_t frames_done_ ABSL_GUARDED_BY(mu_) = 0;
    bool rendered_ ABSL_GUARDED_BY(mu_) = false;

    std::atomic<bool> cancelled_{false};
    std::atomic<bool> preparing_{false}, in_step_{false}, rendering_{false};
    std::atomic<int> num_calls_{0};
  };

  std::optional<FakeGrowth> GrowthOf(const JobRequest& request) const {
    if (options_.growth_of) return options_.growth_of(request);
    if (request.live.has_value()) return FakeGrowth{};
    return std::nullopt;
  }
  absl::Time Now() const { return options_.now ? options_.now() : absl::Now(); }

  void Expect(bool kept, const char* problem) {
    if (kept) return;
    MutexLock lock(&mu_);
    violations_.push_back(problem);
  }

  const Options options_;
  std::atomic<bool> stepping_{false};

  mutable Mutex mu_;
  int num_extractions_ ABSL_GUARDED_BY(mu_) = 0;
  int num_alive_ ABSL_GUARDED_BY(mu_) = 0;
  int64_t num_renders_ ABSL_GUARDED_BY(mu_) = 0;
  std::vector<int> batch_sizes_ ABSL_GUARDED_BY(mu_);
  std::vector<std::string> violations_ ABSL_GUARDED_BY(mu_);
};

}  // namespace reenact::testing
