#include "pipeline/reenactor/reenactor.h"

#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "pipeline/reenactor/guard.h"
#include "pipeline/reenactor/job.h"
#include "pipeline/reenactor/model.h"
#include "torch/torch.h"

namespace reenact {
namespace {

class Reenactor : public Engine {
 public:
  Reenactor(const ReenactorOptions& options, std::vector<std::unique_ptr<Model>> models)
      : options_(options), models_(std::move(models)) {
    for (const auto& model : models_) infos_.push_back(model->info());
  }

  const std::vector<ModelInfo>& models() const override { return infos_; }

  absl::StatusOr<std::unique_ptr<EngineJob>> CreateJob(const JobRequest& request) override {
    for (const auto& model : models_) {
      if (request.model.empty() || request.model == model->info().name) {
        return ReenactorJob::Create(*model, options_, request);
      }
    }
    return absl::NotFoundError(absl::StrCat(
        "no model named \"", request.model, "\"; there is ",
        absl::StrJoin(infos_, ", ",
                      [](std::string* out, const ModelInfo& info) { out->append(info.name); })));
  }

  std::vector<absl::Status> Step(absl::Span<const StepShare> shares) override {
    std::vector<absl::Status> statuses;
    statuses.reserve(shares.size());
    for (const StepShare& share : shares) {
      // Only CreateJob above makes jobs of this engine.
      statuses.push_back(CatchErrors("denoising", [&] {
        return static_cast<ReenactorJob*>(share.job)->Step(share.num_rows);
      }));
    }
    return statuses;
  }

 private:
  const ReenactorOptions options_;
  const std::vector<std::unique_ptr<Model>> models_;
  std::vector<ModelInfo> infos_;
};

absl::Status CheckOptions(const ReenactorOptions& options) {
  if (options.bundles.empty()) return absl::InvalidArgumentError("no bundle is given");
  if (options.num_threads < 0)
    return absl::InvalidArgumentError("num_threads must not be negative");
  if (options.max_rows_per_pass < 2) {
    return absl::InvalidArgumentError("max_rows_per_pass must be at least 2");
  }
  if (options.max_driving_bytes < 1 || options.max_frames < 1 || options.max_image_pixels < 1 ||
      options.max_output_size < 16 || options.max_waiting_bytes < 0) {
    return absl::InvalidArgumentError("a limit is not positive");
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<std::unique_ptr<Engine>> CreateReenactor(const ReenactorOptions& options) {
  if (auto status = CheckOptions(options); !status.ok()) return status;
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
