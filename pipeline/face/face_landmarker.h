// Finds a face in a picture and its 478 landmarks, as MediaPipe does.
//
// Two kinds of model files are read:
//  - two .tflite files, the short-range detector and a landmark model (attention, or FaceMesh-V2);
//    the pipeline then follows MediaPipe's legacy FaceMesh;
//  - a .task bundle, which holds detector, landmark model and blendshapes; the pipeline then
//    follows MediaPipe Tasks' FaceLandmarker in image mode.
// Nothing is smoothed over time. Which pixels feed the networks and in which order results are
// computed is the same on every call, so equal input gives equal output.
//
// Thread-compatible: one object per thread. The models' weights are not shared between objects.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "pipeline/face/landmarks.h"
#include "pipeline/image.h"

namespace reenact {

class FaceLandmarker {
 public:
  struct Options {
    // Content of the detector's .tflite file. Empty: taken from the bundle.
    std::string detector;
    // Content of a landmark model's .tflite file or of a .task bundle.
    std::string landmark_model;
    // Whether to compute Result::blendshapes too; needs a bundle that has that network.
    bool blendshapes = false;
  };

  struct Result {
    // In units of the picture (landmarks.h).
    Landmarks landmarks;
    // Probability that the crop the landmarks come from shows a face, 0.5 to 1.
    float score = 0;
    // Blendshape scores in MediaPipe's order; empty unless asked for.
    std::vector<float> blendshapes;
  };

  // kInvalidArgument: a file is damaged, uses operations this program lacks (all are named), or
  // is not the model it should be.
  static absl::StatusOr<std::unique_ptr<FaceLandmarker>> Create(Options options);
  virtual ~FaceLandmarker() = default;

  // Looks for the best face anywhere in the picture. No value: no face. Does not touch the state
  // of Track(). kInvalidArgument: the image is empty or inconsistent.
  virtual absl::StatusOr<std::optional<Result>> Detect(const Image& image) = 0;

  // As Detect(), up to `max_faces` faces, best detection first.
  virtual absl::StatusOr<std::vector<Result>> DetectAll(const Image& image, int max_faces) = 0;

  // Faces of all sizes, the largest first. The detector sees a whole picture at 128 x 128 pixels
  // and misses faces of less than about a fifth of its longer side; so with `depth` 1 it also looks
  // at overlapping squares of half that side (down to a tenth), with 2 also of a quarter (a
  // twentieth), which takes up to 9 and 58 looks instead of one. 0 finds what DetectAll() does.
  virtual absl::StatusOr<std::vector<Result>> Search(const Image& image, int depth,
                                                     int max_faces) = 0;

  // The face that had these landmarks in the frame before, as Track() follows one. No value: it is
  // not there any more. Does not touch the state of Track().
  virtual absl::StatusOr<std::optional<Result>> Follow(const Image& image,
                                                       const Landmarks& before) = 0;

  // The next frame of a video: looks where the face was in the frame before, and all over the
  // picture only if there was none. Frames may differ in size.
  virtual absl::StatusOr<std::optional<Result>> Track(const Image& image) = 0;

  // Forgets the frame before.
  virtual void Reset() = 0;
};

}  // namespace reenact
