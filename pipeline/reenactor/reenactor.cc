#include "pipeline/reenactor/reenactor.h"

#include <cstddef>
#include <map>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/time/clock.h"
#include "pipeline/driving/template_maker.h"
#include "pipeline/engine/clip_denoiser.h"
#include "pipeline/models/device.h"
#include "pipeline/reenactor/face_selection.h"
#include "pipeline/reenactor/guard.h"
#include "pipeline/reenactor/job.h"
#include "pipeline/reenactor/model.h"
#include "torch/torch.h"

namespace reenact {
namespace {

// Exceptions of the libraries below end here, as those of a job do.
class GuardedExtraction final : public MotionExtraction {
 public:
  explicit GuardedExtraction(std::unique_ptr<MotionExtraction> extraction)
      : extraction_(std::move(extraction)) {}

  absl::Status AddBytes(std::string_view bytes) override {
    return CatchErrors("receiving the driving media", [&] { return extraction_->AddBytes(bytes); });
  }
  absl::Status Finish() override { return extraction_->Finish(); }
  absl::StatusOr<Reading> Read(std::string* bytes) override {
    return CatchErrors("reading the driving video", [&] { return extraction_->Read(bytes); });
  }
  void Cancel() override { extraction_->Cancel(); }
  MotionSummary Summary() const override { return extraction_->Summary(); }

 private:
  const std::unique_ptr<MotionExtraction> extraction_;
};

absl::StatusOr<std::unique_ptr<MotionExtraction>> MakeExtraction(const Model& model,
                                                                 const ReenactorOptions& options,
                                                                 const MotionRequest& request) {
  auto landmarker = model.NewFaceLandmarker();
  if (!landmarker.ok()) return landmarker.status();
  auto face =
      ToFaceChoice(request.driver_face, "driver_face", **landmarker, options.max_image_pixels);
  if (!face.ok()) return face.status();
  auto blendshapes = model.NewFaceBlendshapes();
  if (!blendshapes.ok()) return blendshapes.status();
  TemplateMakerOptions maker;
  maker.max_bytes = options.max_driving_bytes;
  maker.source.max_frames = options.max_frames;
  maker.source.max_pixels = options.max_image_pixels;
  maker.source.faces = {*face};
  maker.source.read_audio = request.copy_audio;
  maker.landmark_model_sha256 = model.landmark_model_sha256();
  return std::make_unique<GuardedExtraction>(
      MakeTemplateMaker(maker, *std::move(landmarker), *std::move(blendshapes)));
}

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

  absl::StatusOr<std::unique_ptr<MotionExtraction>> ExtractMotion(
      const MotionRequest& request) override {
    return CatchErrors("reading the reference image",
                       [&] { return MakeExtraction(*models_[0], options_, request); });
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
    std::vector<ClipDenoiser::Share> parts;
    // The jobs that take part, each with where its parts begin.
    std::vector<std::pair<size_t, size_t>> who;
    for (const size_t i : indices) {
      const auto mine = JobOf(shares[i]).BeginStep(shares[i].num_rows);
      (*statuses)[i] = mine.status();
      if (!mine.ok()) continue;
      who.emplace_back(i, parts.size());
      parts.insert(parts.end(), mine->begin(), mine->end());
    }
    if (parts.empty()) return;
    const absl::Time start = absl::Now();
    using Finished = absl::StatusOr<std::vector<FinishedFrame>>;
    auto finished = CatchErrors("denoising", [&] {
      return absl::StatusOr<std::vector<Finished>>(ClipDenoiser::Step(executor, parts));
    });
    const absl::Duration duration = absl::Now() - start;
    for (size_t k = 0; k < who.size(); ++k) {
      const auto [i, begin] = who[k];
      const size_t end = k + 1 < who.size() ? who[k + 1].second : parts.size();
      std::vector<Finished> mine;
      for (size_t part = begin; part < end; ++part) {
        mine.push_back(finished.ok() ? std::move((*finished)[part]) : Finished(finished.status()));
      }
      (*statuses)[i] = JobOf(shares[i]).EndStep(std::move(mine), duration);
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
