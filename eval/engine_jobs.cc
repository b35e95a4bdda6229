#include "eval/engine_jobs.h"

#include <cstddef>
#include <cstdint>
#include <memory>
#include <utility>

#include "absl/status/status.h"
#include "eval/parallel.h"

namespace reenact {
namespace {

struct Running {
  std::unique_ptr<EngineJob> job;
  std::vector<Image> frames;
  absl::Status status;
  bool prepared = false;

  bool active() const { return status.ok() && job != nullptr && !job->rendered(); }
};

absl::Status Start(Engine& engine, const EvalJob& input, Running& running) {
  JobRequest request = input.request;
  request.format = OutputFormat::kRawRgb;
  auto job = engine.CreateJob(request);
  if (!job.ok()) return job.status();
  running.job = *std::move(job);
  if (auto status = running.job->AddDriving(input.driving); !status.ok()) return status;
  return running.job->FinishDriving();
}

absl::Status Prepare(Running& running) {
  while (!running.prepared) {
    const auto preparation = running.job->Prepare();
    if (!preparation.ok()) return preparation.status();
    running.prepared = *preparation == EngineJob::Preparation::kDone;
    if (*preparation != EngineJob::Preparation::kMore) break;
  }
  return absl::OkStatus();
}

absl::Status Render(Running& running) {
  while (running.job->renderable()) {
    auto outputs = running.job->Render();
    if (!outputs.ok()) return outputs.status();
    for (const Output& output : *outputs) {
      if (output.kind != Output::Kind::kFrame) continue;
      Image image{output.width, output.height, {}};
      image.rgb.assign(output.data.begin(), output.data.end());
      running.frames.push_back(std::move(image));
    }
  }
  return absl::OkStatus();
}

// One step of all jobs that have rows; whether there was any.
bool StepAll(Engine& engine, std::vector<Running>& all) {
  std::vector<StepShare> shares;
  std::vector<size_t> who;
  for (size_t i = 0; i < all.size(); ++i) {
    if (!all[i].active()) continue;
    const int rows = all[i].job->row_demand().max_rows;
    if (rows == 0) continue;
    shares.push_back({all[i].job.get(), rows});
    who.push_back(i);
  }
  if (shares.empty()) return false;
  const std::vector<absl::Status> statuses = engine.Step(shares);
  for (size_t k = 0; k < who.size(); ++k) all[who[k]].status.Update(statuses[k]);
  return true;
}

}  // namespace

std::vector<absl::StatusOr<EvalJobResult>> RunEvalJobs(Engine& engine,
                                                       const std::vector<EvalJob>& jobs,
                                                       int threads) {
  std::vector<Running> all(jobs.size());
  const int count = static_cast<int>(jobs.size());
  // A job's own failure is kept in it, so that the loop goes on.
  const auto each = [&](const auto& body) {
    const absl::Status status = ParallelFor(threads, count, [&](int, int i) {
      Running& running = all[static_cast<size_t>(i)];
      if (running.status.ok()) running.status.Update(body(static_cast<size_t>(i), running));
      return absl::OkStatus();
    });
    status.IgnoreError();  // the bodies return none
  };
  each([&](size_t i, Running& running) { return Start(engine, jobs[i], running); });
  const auto active = [&] {
    for (const Running& running : all) {
      if (running.active()) return true;
    }
    return false;
  };
  while (active()) {
    each([](size_t, Running& running) { return Prepare(running); });
    const bool stepped = StepAll(engine, all);
    bool rendered = false;
    for (const Running& running : all) rendered |= running.active() && running.job->renderable();
    if (rendered) each([](size_t, Running& running) { return Render(running); });
    if (stepped || rendered) continue;
    for (Running& running : all) {
      if (running.active()) running.status = absl::InternalError("the job does not go on");
    }
  }
  std::vector<absl::StatusOr<EvalJobResult>> results;
  for (Running& running : all) {
    if (!running.status.ok()) {
      results.emplace_back(running.status);
      continue;
    }
    results.emplace_back(EvalJobResult{std::move(running.frames), running.job->Summary()});
  }
  return results;
}

}  // namespace reenact
