// A model in memory, ready for jobs: a bundle's networks and the face models, and the steps of a
// job that need them: the source to what the denoiser is told, landmarks to conditions, latents to
// pictures.
//
// Immutable after Load. Methods are thread-safe, networks are only read; the executor belongs to
// the thread that denoises.
#pragma once

#include <cstddef>
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
#include "pipeline/face/face_blendshapes.h"
#include "pipeline/face/face_landmarker.h"
#include "pipeline/face/landmarks.h"
#include "pipeline/image.h"
#include "pipeline/models/row_executor.h"
#include "pipeline/models/vae_decoder.h"
#include "pipeline/reenactor/face_models.h"
#include "pipeline/reenactor/reenactor.h"
#include "pipeline/source/source_video.h"
#include "pipeline/types.h"

namespace reenact {

// What is kept of a source.
struct EmbeddedSource {
  torch::Tensor G;  // [identity_width], IdentityInput()
  // The cropped picture and its landmarks (crop-normalised); none for a text.
  std::optional<torch::Tensor> latent;  // [C, h, w], scaled
  std::optional<Landmarks> landmarks;
  // The whole picture and where the crop is in it; only for Composition::kPasteBack. Of a source
  // video `clip` is in the picture's place.
  std::optional<Image> picture;
  std::shared_ptr<SourceClip> clip;
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
  // None: there is no such network beside the face models.
  absl::StatusOr<std::optional<FaceBlendshapes>> NewFaceBlendshapes() const;
  // SHA-256 of the landmark model's file.
  const std::string& landmark_model_sha256() const { return landmark_model_sha256_; }

  // The request's source video, to be read to its end before EmbedSources. kInvalidArgument: not a
  // video; kResourceExhausted: too large or too long.
  absl::StatusOr<std::unique_ptr<SourceVideo>> OpenSourceVideo(const JobRequest& request) const;

  // Decodes, crops and embeds the request's sources, one per face (job_request.h). No face of a
  // picture is taken twice. `video`: of OpenSourceVideo, if the request has one, else null.
  // kInvalidArgument: not an image; kResourceExhausted: too large; kFailedPrecondition: no face in
  // it.
  absl::StatusOr<std::vector<EmbeddedSource>> EmbedSources(const JobRequest& request,
                                                           FaceLandmarker& landmarker,
                                                           SourceVideo* video) const;

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

  // Decodes the picture of the first of `faces`, which share it, and fills what of each
  // EmbeddedSource is of pictures; `crops` gets what they look like, in the model's size.
  absl::Status CropSources(const JobRequest& request, const std::vector<size_t>& faces,
                           FaceLandmarker& landmarker, std::vector<EmbeddedSource>* sources,
                           std::vector<Image>* crops) const;

  // The same for faces of a source video.
  absl::Status CropSourceVideo(const JobRequest& request, const std::vector<size_t>& faces,
                               SourceVideo& video, std::vector<EmbeddedSource>* sources,
                               std::vector<Image>* crops) const;

  // Makes executor_ and decoder_ on the device that the options name.
  absl::Status PlaceNetworks(const ReenactorOptions& options);
  // Times real steps of `num_rows` rows for ModelInfo::gflop_per_second.
  void Calibrate(int num_rows);

  Bundle bundle_;
  std::unique_ptr<RowExecutor> executor_;
  std::unique_ptr<VaeDecoder> decoder_;
  FaceModels face_models_;
  std::string landmark_model_sha256_;
  ModelInfo info_;
};

}  // namespace reenact
