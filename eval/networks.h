// The networks that measure: the bundle's own CLIP towers and autoencoder, and the landmark network
// that the engine uses.
//
// The identity embedding of every metric is the CLIP image tower's, normalised, as the paper's; a
// bundle trained on synthetic people sees synthetic people with it. Numbers of different bundles
// are therefore not in one unit.
//
// Thread-safe, but for landmarkers: one per thread.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "eval/embedding_metrics.h"
#include "pipeline/engine/bundle.h"
#include "pipeline/face/face_landmarker.h"
#include "pipeline/image.h"
#include "pipeline/reenactor/face_models.h"

namespace reenact {

class EvalNetworks {
 public:
  // `face_models` as ReenactorOptions::face_models. Errors of ReadBundle and ReadFaceModels.
  static absl::StatusOr<std::unique_ptr<EvalNetworks>> Load(const std::string& bundle,
                                                            const std::string& face_models);

  const Bundle& bundle() const { return bundle_; }
  int image_size() const { return static_cast<int>(bundle_.config.image_size); }

  // Of unit length.
  Embedding Embed(const Image& picture) const;
  std::vector<Embedding> Embed(const std::vector<Image>& pictures) const;
  Embedding EmbedText(const std::string& text) const;

  // A picture of image_size through encoder and decoder.
  Image Reconstruct(const Image& picture) const;
  // Its scaled latent, [C, h, w].
  torch::Tensor Encode(const Image& picture) const;

  absl::StatusOr<std::unique_ptr<FaceLandmarker>> NewLandmarker() const;
  // Of both .tflite files.
  std::string face_models_sha256() const;

 private:
  EvalNetworks(Bundle bundle, FaceModels face_models)
      : bundle_(std::move(bundle)), face_models_(std::move(face_models)) {}

  const Bundle bundle_;
  const FaceModels face_models_;
};

}  // namespace reenact
