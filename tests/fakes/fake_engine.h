// An engine that takes no time and generates text instead of pictures. Hooks decide what fails and
// what waits. It checks the promises that server/ makes in pipeline/engine.h and counts what breaks
// them.
#pragma once

#include <algorithm>
#include <atomic>
#include <functional>
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
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
  return model;
}

// Thread-safe as pipeline/engine.h says, and beyond it where a test needs it.
class FakeEngine final : public Engine {
 public:
  struct Options {
    std::vector<ModelInfo> models = {FakeModel()};
    int num_frames = 8;
    // A pass is num_steps steps, after which this many frames can be rendered.
    int frames_per_pass = 4;
    // Size of a fragment per frame.
    size_t bytes_per_frame = 10;

    // Called before the engine does the thing; a hook may wait. Null: OK.
    std::function<absl::Status(const JobRequest&)> on_create;
    std::function<absl::Status(const JobRequest&, const std::string& driving)> on_prepare;
    std::function<absl::Status(const JobRequest&, int64_t step)> on_step;
    std::function<absl::Status(const JobRequest&)> on_render;
    std::function<void(const JobRequest&)> on_cancel;
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

  std::vector<absl::Status> Step(absl::Span<const StepShare> shares) override {
    Expect(!stepping_.exchange(true), "two Step calls at a time");
    std::set<EngineJob*> jobs;
    for (const StepShare& share : shares) {
      Expect(jobs.insert(share.job).second, "a job twice in one Step");
      const RowDemand demand = share.job->row_demand();
      Expect(share.num_rows >= std::max(demand.min_rows, 1) && share.num_rows <= demand.max_rows,
             "a step of more or fewer rows than a job can use");
    }
    {
      MutexLock lock(&mu_);
      batch_sizes_.push_back(static_cast<int>(shares.size()));
    }
    std::vector<absl::Status> statuses;
    for (const StepShare& share : shares) {
      statuses.push_back(static_cast<FakeJob*>(share.job)->Step());
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

 private:
  class FakeJob final : public EngineJob {
   public:
    FakeJob(FakeEngine& engine, const JobRequest& request) : engine_(engine), request_(request) {
      MutexLock lock(&engine_.mu_);
      ++engine_.num_alive_;
    }
    ~FakeJob() override {
      engine_.Expect(num_calls_ == 0, "a job destroyed inside one of its calls");
      MutexLock lock(&engine_.mu_);
      --engine_.num_alive_;
    }

    absl::Status AddDriving(std::string_view bytes) override {
      const Call call(*this, preparing_, "two preparation calls at a time");
      driving_.append(bytes);
      if (static_cast<int64_t>(driving_.size()) > engine_.options_.models[0].max_driving_bytes) {
        return absl::ResourceExhaustedError("the driving media is too long");
      }
      return absl::OkStatus();
    }

    absl::Status FinishDriving() override {
      const Call call(*this, preparing_, "two preparation calls at a time");
      if (engine_.options_.on_prepare) {
        const absl::Status status = engine_.options_.on_prepare(request_, driving_);
        if (!status.ok()) return status;
      }
      const Options& options = engine_.options_;
      plan_.num_frames = options.num_frames;
      plan_.num_rows = options.num_frames;
      plan_.num_steps = request_.num_steps.value_or(options.models[0].default_num_steps);
      const int num_passes =
          (options.num_frames + options.frames_per_pass - 1) / options.frames_per_pass;
      plan_.total_steps = int64_t{num_passes} * plan_.num_steps;
      prepared_ = true;
      return absl::OkStatus();
    }

    void Cancel() override {
      if (engine_.options_.on_cancel) engine_.options_.on_cancel(request_);
    }

    const JobPlan& plan() const override { return plan_; }
    RowDemand row_demand() const override {
      return denoised() ? RowDemand{} : RowDemand{.min_rows = 1, .max_rows = 1};
    }
    bool denoised() const override { return prepared_ && steps_done_ == plan_.total_steps; }
    int64_t steps_done() const override { return steps_done_; }
    bool renderable() const override {
      return frames_done_ < frames_ready() || (denoised() && !rendered_);
    }
    bool rendered() const override { return rendered_; }
    int64_t frames_done() const override { return frames_done_; }

    absl::Status Step() {
      const Call call(*this, in_step_, "two steps of one job at a time");
      engine_.Expect(prepared_ && !denoised(), "a step of a job that is not ready for one");
      if (engine_.options_.on_step) {
        const absl::Status status = engine_.options_.on_step(request_, steps_done_);
        if (!status.ok()) return status;
      }
      ++steps_done_;
      return absl::OkStatus();
    }

    absl::StatusOr<std::vector<Output>> Render() override {
      const Call call(*this, rendering_, "two Render calls of one job at a time");
      engine_.Expect(renderable(), "Render without anything to do");
      {
        MutexLock lock(&engine_.mu_);
        ++engine_.num_renders_;
      }
      if (engine_.options_.on_render) {
        const absl::Status status = engine_.options_.on_render(request_);
        if (!status.ok()) return status;
      }
      std::vector<Output> outputs;
      const bool frames_only = request_.format != OutputFormat::kFragmentedMp4;
      if (frames_done_ == 0 && !frames_only) {
        outputs.push_back({.kind = Output::Kind::kInitSegment,
                           .data = absl::StrCat("init ", request_.seed, ";")});
      }
      const bool all = denoised();
      while (frames_done_ < frames_ready()) {
        Output output;
        output.kind = frames_only ? Output::Kind::kFrame : Output::Kind::kFragment;
        output.data = absl::StrCat("frame ", frames_done_.load(), ";");
        output.data.resize(std::max(output.data.size(), engine_.options_.bytes_per_frame), '.');
        output.first_frame = frames_done_;
        output.num_frames = 1;
        output.pts = frames_done_ * 1001;
        output.time_base_num = 1;
        output.time_base_den = 30000;
        if (frames_only) output.width = output.height = 64;
        outputs.push_back(std::move(output));
        ++frames_done_;
      }
      rendered_ = all && frames_done_ == plan_.num_frames;
      return outputs;
    }

    JobSummary Summary() const override {
      engine_.Expect(rendered_, "Summary before everything else is over");
      JobSummary summary;
      summary.model = request_.model;
      summary.bundle_sha256 = std::string(64, 'a');
      summary.seed = request_.seed;
      summary.frames_in = plan_.num_frames;
      summary.frames_out = frames_done_;
      summary.steps_run = steps_done_;
      summary.rows_run = steps_done_ * 2;
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

    int64_t frames_ready() const {
      if (!prepared_) return 0;
      const int64_t passes = steps_done_ / plan_.num_steps;
      return std::min<int64_t>(passes * engine_.options_.frames_per_pass, plan_.num_frames);
    }

    FakeEngine& engine_;
    const JobRequest request_;
    std::string driving_;
    JobPlan plan_;
    std::atomic<bool> prepared_{false};
    std::atomic<int64_t> steps_done_{0};
    std::atomic<int64_t> frames_done_{0};
    std::atomic<bool> rendered_{false};
    std::atomic<bool> preparing_{false}, in_step_{false}, rendering_{false};
    std::atomic<int> num_calls_{0};
  };

  void Expect(bool kept, const char* problem) {
    if (kept) return;
    MutexLock lock(&mu_);
    violations_.push_back(problem);
  }

  const Options options_;
  std::atomic<bool> stepping_{false};

  mutable Mutex mu_;
  int num_alive_ ABSL_GUARDED_BY(mu_) = 0;
  int64_t num_renders_ ABSL_GUARDED_BY(mu_) = 0;
  std::vector<int> batch_sizes_ ABSL_GUARDED_BY(mu_);
  std::vector<std::string> violations_ ABSL_GUARDED_BY(mu_);
};

}  // namespace reenact::testing
