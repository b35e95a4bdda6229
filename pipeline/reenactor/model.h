// A model in memory, ready for jobs: a bundle's networks and the face models, and the steps of a
// job that need them: the source to what the denoiser is told, landmarks to conditions, latents to
// pictures.
//
// Immutable after Load. Methods are thread-safe, networks are only read; the executor belongs to
// the thread that denoises.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "pipeline/engine/bundle.h"
#include "pipeline/engine/sampling.h"
#include "pipeline/face/face_landmarker.h"
#include "pipeline/face/landmarks.h"
#include "pipeline/image.h"
#include "pipeline/models/cpu_vae_decoder.h"
#include "pipeline/models/row_executor.h"
#include "pipeline/reenactor/face_models.h"
#include "pipeline/reenactor/reenactor.h"
#include "pipeline/types.h"

namespace reenact {

// What is kept of a source.
struct EmbeddedSource {
  torch::Tensor G;  // [clip_dim], unit length
  // The cropped picture and its landmarks (crop-normalised); none for a text.
  std::optional<torch::Tensor> latent;  // [C, h, w], scaled
  std::optional<Landmarks> landmarks;
  std::vector<std::string> notes;  // for JobSummary::notes
  absl::Duration decode_time, landmark_time, embed_time;
};

class Model {
 public:
  static absl::StatusOr<std::unique_ptr<Model>> Load(const std::string& folder,
                                                     const ReenactorOptions& options);

  const ModelInfo& info() const { return info_; }
  const Bundle& bundle() const { return bundle_; }
  RowExecutor& executor() const { return *executor_; }

  absl::StatusOr<std::unique_ptr<FaceLandmarker>> NewFaceLandmarker() const;

  // Decodes, crops and embeds the request's source. kInvalidArgument: not an image;
  // kResourceExhausted: too large; kFailedPrecondition: no face in it.
  absl::StatusOr<EmbeddedSource> EmbedSource(const JobRequest& request,
                                             FaceLandmarker& landmarker) const;

  // `landmarks`: of each frame, crop-normalised; must outlive the result, which draws landmark maps
  // from them. `guided`: whether C_dropped is needed.
  absl::StatusOr<Conditions> MakeConditions(const EmbeddedSource& source,
                                            absl::Span<const Landmarks> landmarks,
                                            bool guided) const;

  // [C, h, w] scaled latent -> picture of image_size. One at a time, so that a frame's bytes do not
  // depend on what was ready beside it.
  absl::StatusOr<Image> Decode(const torch::Tensor& latent) const;

 private:
  Model() = default;

  // Times real steps for ModelInfo::gflop_per_second.
  void Calibrate();

  Bundle bundle_;
  std::unique_ptr<RowExecutor> executor_;
  std::unique_ptr<CpuVaeDecoder> decoder_;
  FaceModels face_models_;
  ModelInfo info_;
};

// 8-bit RGB to [3, H, W] in [-1, 1] and back (rounded, clamped).
torch::Tensor ImageToTensor(const Image& image);
Image TensorToImage(const torch::Tensor& tensor);

}  // namespace reenact
