#include "pipeline/reenactor/reenactor.h"

#include <cstddef>
#include <map>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/time/clock.h"
#include "pipeline/engine/trace_denoiser.h"
#include "pipeline/models/device.h"
#include "pipeline/reenactor/guard.h"
#include "pipeline/reenactor/job.h"
#include "pipeline/reenactor/model.h"
#include "torch/torch.h"

namespace reenact {
namespace {

class Reenactor : public Engine {
 public:
  Reenactor(const ReenactorOptions& options, std::vector<std::unique_ptr<Model>> models)
      : options_(options), models_(std::move(models)), budget_(options.max_trace_bytes) {
    for (const auto& model : models_) infos_.push_back(model->info());
  }

  const std::vector<ModelInfo>& models() const override { return infos_; }

  absl::StatusOr<std::unique_ptr<EngineJob>> CreateJob(const JobRequest& request) override {
    for (const auto& model : models_) {
      if (request.model.empty() || request.model == model->info().name) {
        return ReenactorJob::Create(*model, options_, budget_, request);
      }
    }
    return absl::NotFoundError(absl::StrCat(
        "no model named \"", request.model, "\"; there is ",
        absl::StrJoin(infos_, ", ",
                      [](std::string* out, const ModelInfo& info) { out->append(info.name); })));
  }

  std::vector<absl::Status> Step(absl::Span<const StepShare> shares) override {
    std::vector<absl::Status> statuses(shares.size());
    std::map<RowExecutor*, std::vector<size_t>> by_executor;
    for (size_t i = 0; i < shares.size(); ++i)
      by_executor[&JobOf(shares[i]).executor()].push_back(i);
    for (const auto& [executor, indices] : by_executor) {
      StepOn(*executor, shares, indices, &statuses);
    }
    return statuses;
  }

 private:
  // Only CreateJob makes jobs of this engine.
  static ReenactorJob& JobOf(const StepShare& share) {
    return static_cast<ReenactorJob&>(*share.job);
  }

  static void StepOn(RowExecutor& executor, absl::Span<const StepShare> shares,
                     const std::vector<size_t>& indices, std::vector<absl::Status>* statuses) {
    std::vector<TraceDenoiser::Share> parts;
    std::vector<size_t> who;
    for (const size_t i : indices) {
      auto part = JobOf(shares[i]).BeginStep(shares[i].num_rows);
      (*statuses)[i] = part.status();
      if (!part.ok()) continue;
      parts.push_back(*part);
      who.push_back(i);
    }
    if (parts.empty()) return;
    const absl::Time start = absl::Now();
    auto finished = CatchErrors("denoising", [&] {
      return absl::StatusOr<std::vector<absl::StatusOr<std::vector<FinishedFrame>>>>(
          TraceDenoiser::Step(executor, parts));
    });
    const absl::Duration duration = absl::Now() - start;
    for (size_t k = 0; k < who.size(); ++k) {
      const StepShare& share = shares[who[k]];
      (*statuses)[who[k]] = JobOf(share).EndStep(
          share.num_rows, finished.ok() ? std::move((*finished)[k]) : finished.status(), duration);
    }
  }

  const ReenactorOptions options_;
  const std::vector<std::unique_ptr<Model>> models_;
  std::vector<ModelInfo> infos_;
  TraceBudget budget_;
};

absl::Status CheckOptions(const ReenactorOptions& options) {
  if (options.bundles.empty()) return absl::InvalidArgumentError("no bundle is given");
  if (options.num_threads < 0)
    return absl::InvalidArgumentError("num_threads must not be negative");
  if (options.max_active_rows < 2) {
    return absl::InvalidArgumentError("max_active_rows must be at least 2");
  }
  if (options.max_driving_bytes < 1 || options.max_frames < 1 || options.max_image_pixels < 1 ||
      options.max_output_size < 16 || options.max_waiting_bytes < 0 ||
      options.max_trace_bytes < 0 || options.max_cuda_graphs < 0) {
    return absl::InvalidArgumentError("a limit is out of range");
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<std::unique_ptr<Engine>> CreateReenactor(const ReenactorOptions& options) {
  if (auto status = CheckOptions(options); !status.ok()) return status;
  if (auto device = FindDevice(options.device); !device.ok()) return device.status();
  if (options.num_threads > 0) at::set_num_threads(options.num_threads);
  std::vector<std::unique_ptr<Model>> models;
  for (const std::string& folder : options.bundles) {
    auto model = CatchErrors("loading a bundle", [&] { return Model::Load(folder, options); });
    if (!model.ok()) return model.status();
    for (const auto& other : models) {
      if (other->info().name == (*model)->info().name) {
        return absl::InvalidArgumentError(
            absl::StrCat("two bundles are named ", other->info().name));
      }
    }
    models.push_back(*std::move(model));
  }
  return std::make_unique<Reenactor>(options, std::move(models));
}

}  // namespace reenact
