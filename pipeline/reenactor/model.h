// A model in memory, ready for jobs: a bundle's networks and the face models, and the steps of a
// job that need them: the source to what the denoiser is told, landmarks to conditions, latents to
// pictures.
//
// Immutable after Load. Methods are thread-safe, networks are only read; the executor belongs to
// the thread that denoises.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "pipeline/engine/bundle.h"
#include "pipeline/engine/sampling.h"
#include "pipeline/face/crop.h"
#include "pipeline/face/face_landmarker.h"
#include "pipeline/face/landmarks.h"
#include "pipeline/image.h"
#include "pipeline/models/row_executor.h"
#include "pipeline/models/vae_decoder.h"
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
  // The whole picture and where the crop is in it; only for Composition::kPasteBack.
  std::optional<Image> picture;
  CropBox box;
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

  // `landmarks`: gives those of some frames, crop-normalised; called by whoever asks for the
  // frames' conditions. `guided`: whether C_dropped is needed.
  using LandmarkSource = std::function<std::vector<Landmarks>(absl::Span<const int64_t> frames)>;
  absl::StatusOr<Conditions> MakeConditions(const EmbeddedSource& source, LandmarkSource landmarks,
                                            bool guided) const;

  // [C, h, w] scaled latent -> picture of image_size. One at a time, so that a frame's bytes do not
  // depend on what was ready beside it.
  absl::StatusOr<Image> Decode(const torch::Tensor& latent) const;

 private:
  Model() = default;

  // Makes executor_ and decoder_ on the device that the options name.
  absl::Status PlaceNetworks(const ReenactorOptions& options);
  // Times real steps of `num_rows` rows for ModelInfo::gflop_per_second.
  void Calibrate(int num_rows);

  Bundle bundle_;
  std::unique_ptr<RowExecutor> executor_;
  std::unique_ptr<VaeDecoder> decoder_;
  FaceModels face_models_;
  ModelInfo info_;
};

}  // namespace reenact
