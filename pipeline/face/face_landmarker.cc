#include "pipeline/face/face_landmarker.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <map>
#include <string_view>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "pipeline/face/detection.h"
#include "pipeline/face/face_blendshapes.h"
#include "pipeline/face/network.h"
#include "pipeline/face/roi.h"
#include "pipeline/face/tflite_model.h"
#include "pipeline/face/zip.h"

namespace reenact {
namespace {

constexpr float kMinDetectionScore = 0.5f;
constexpr float kMinPresence = 0.5f;
// Boxes that overlap more show one face.
constexpr float kSameFace = 0.3f;
// A smaller face that a larger one covers by more is a part of it.
constexpr float kPartOfFace = 0.6f;
// Of Search(); one level more costs four times as much.
constexpr int kMaxDepth = 2;
// A box may reach this far out of a square, in units of the picture.
constexpr float kEdge = 1e-3f;
constexpr int kNumMeshPoints = 468;
constexpr int kNumIrisPoints = 5;

// Which mesh points the attention model's finer outputs are, in their order. Left and right are the
// picture's; the first 16 points of an eye are its contour.
constexpr std::array<int16_t, 80> kLips = {
    61, 146, 91, 181, 84, 17, 314, 405, 321, 375, 291, 185, 40, 39, 37, 0,  267, 269, 270, 409,
    78, 95,  88, 178, 87, 14, 317, 402, 318, 324, 308, 191, 80, 81, 82, 13, 312, 311, 310, 415,
    76, 77,  90, 180, 85, 16, 315, 404, 320, 307, 306, 184, 74, 73, 72, 11, 302, 303, 304, 408,
    62, 96,  89, 179, 86, 15, 316, 403, 319, 325, 292, 183, 42, 41, 38, 12, 268, 271, 272, 407};
constexpr std::array<int16_t, 71> kLeftEye = {
    33,  7,   163, 144, 145, 153, 154, 155, 133, 246, 161, 160, 159, 158, 157, 173, 130, 25,
    110, 24,  23,  22,  26,  112, 243, 247, 30,  29,  27,  28,  56,  190, 226, 31,  228, 229,
    230, 231, 232, 233, 244, 113, 225, 224, 223, 222, 221, 189, 35,  124, 46,  53,  52,  65,
    143, 111, 117, 118, 119, 120, 121, 128, 245, 156, 70,  63,  105, 66,  107, 55,  193};
constexpr std::array<int16_t, 71> kRightEye = {
    263, 249, 390, 373, 374, 380, 381, 382, 362, 466, 388, 387, 386, 385, 384, 398, 359, 255,
    339, 254, 253, 252, 256, 341, 463, 467, 260, 259, 257, 258, 286, 414, 446, 261, 448, 449,
    450, 451, 452, 453, 464, 342, 445, 444, 443, 442, 441, 413, 265, 353, 276, 283, 282, 295,
    372, 340, 346, 347, 348, 349, 350, 357, 465, 383, 300, 293, 334, 296, 336, 285, 417};
constexpr int kFirstLeftIris = 468;
constexpr int kFirstRightIris = 473;
constexpr size_t kNumContourPoints = 16;

// What differs between MediaPipe's two pipelines.
struct Convention {
  float max_overlap;       // of two detections that stay apart
  bool square_detections;  // whether the region around a detection is made square in pixels
  Depth depth;             // how z comes back from a region
};
constexpr Convention kLegacy = {0.3f, true, Depth::kByWidth};
constexpr Convention kTasks = {0.5f, false, Depth::kByRow};

absl::Status Invalid(const std::string& what) { return absl::InvalidArgumentError(what); }

absl::StatusOr<std::unique_ptr<Network>> Load(const std::string& role, std::string_view file) {
  absl::StatusOr<std::unique_ptr<Network>> network = Network::Create(file);
  if (!network.ok())
    return Invalid(absl::StrCat(role, ": ", std::string(network.status().message())));
  return network;
}

// The side of the square picture a network takes; 0 if it takes something else.
int PictureSide(const Network& network) {
  if (network.inputs().size() != 1) return 0;
  const std::vector<int>& shape = network.inputs()[0].shape;
  const bool picture = shape.size() == 4 && shape[0] == 1 && shape[1] == shape[2] && shape[3] == 3;
  return picture ? shape[1] : 0;
}

// Indices of the outputs that have `elements` numbers, in order.
std::vector<size_t> OutputsOf(const Network& network, size_t elements) {
  std::vector<size_t> found;
  for (size_t i = 0; i < network.outputs().size(); ++i) {
    if (network.outputs()[i].elements == elements) found.push_back(i);
  }
  return found;
}

float Sigmoid(float x) { return 1 / (1 + std::exp(-x)); }

class FaceDetector {
 public:
  static absl::StatusOr<FaceDetector> Create(std::string_view file, float max_overlap) {
    absl::StatusOr<std::unique_ptr<Network>> network = Load("face detector", file);
    if (!network.ok()) return network.status();
    const std::vector<size_t> boxes = OutputsOf(**network, kNumAnchors * kNumCoordinates);
    const std::vector<size_t> logits = OutputsOf(**network, kNumAnchors);
    if (PictureSide(**network) != kDetectorSide || boxes.size() != 1 || logits.size() != 1) {
      return Invalid(
          "face detector: not the short-range detector (128 x 128 pixels, 896 anchors of 16 "
          "numbers)");
    }
    FaceDetector detector;
    detector.network_ = *std::move(network);
    detector.boxes_ = boxes[0];
    detector.logits_ = logits[0];
    detector.max_overlap_ = max_overlap;
    return detector;
  }

  // Best first, in units of the picture. `roi` is not turned.
  std::vector<Detection> Run(const Image& image, const Roi& roi) {
    // Bytes to -1..1.
    SampleRoi(image, roi, kDetectorSide, Border::kZero, 2.0f / 255, -1, network_->input(0));
    network_->Run();
    std::vector<Detection> detections =
        MergeOverlapping(DecodeDetections(network_->output(boxes_), network_->output(logits_),
                                          anchors_, kMinDetectionScore),
                         max_overlap_);
    const auto x = [&roi](float value) { return (value - 0.5f) * roi.width + roi.center_x; };
    const auto y = [&roi](float value) { return (value - 0.5f) * roi.height + roi.center_y; };
    for (Detection& d : detections) {
      d.box = {x(d.box.left), y(d.box.top), x(d.box.right), y(d.box.bottom)};
      for (Point3& p : d.keypoints) p = {x(p.x), y(p.y), 0};
    }
    return detections;
  }

 private:
  std::unique_ptr<Network> network_;
  std::vector<Point3> anchors_ = DetectorAnchors();
  size_t boxes_ = 0, logits_ = 0;
  float max_overlap_ = 0;
};

class LandmarkModel {
 public:
  static absl::StatusOr<LandmarkModel> Create(std::string_view file, Depth depth) {
    absl::StatusOr<std::unique_ptr<Network>> network = Load("landmark model", file);
    if (!network.ok()) return network.status();
    LandmarkModel model;
    model.depth_ = depth;
    model.side_ = PictureSide(**network);
    const std::vector<size_t> all = OutputsOf(**network, 3 * kNumLandmarks);
    const std::vector<size_t> mesh = OutputsOf(**network, 3 * kNumMeshPoints);
    const std::vector<size_t> lips = OutputsOf(**network, 2 * kLips.size());
    const std::vector<size_t> eyes = OutputsOf(**network, 2 * kLeftEye.size());
    const std::vector<size_t> irises = OutputsOf(**network, 2 * kNumIrisPoints);
    const std::vector<size_t> flags = OutputsOf(**network, 1);
    // FaceMesh-V2 may have a second single number, which is not used.
    if (model.side_ > 0 && all.size() == 1 && !flags.empty()) {
      model.mesh_ = all[0];
    } else if (model.side_ > 0 && mesh.size() == 1 && lips.size() == 1 && eyes.size() == 2 &&
               irises.size() == 2 && flags.size() == 1) {
      model.attention_ = true;
      model.mesh_ = mesh[0];
      model.lips_ = lips[0];
      model.left_eye_ = eyes[0];
      model.right_eye_ = eyes[1];
      model.left_iris_ = irises[0];
      model.right_iris_ = irises[1];
    } else if (mesh.size() == 1) {
      return Invalid(
          "landmark model: it gives 468 points without irises; the attention model or FaceMesh-V2 "
          "is "
          "needed");
    } else {
      return Invalid("landmark model: neither the attention model nor FaceMesh-V2");
    }
    model.flag_ = flags[0];
    model.network_ = *std::move(network);
    return model;
  }

  // Landmarks in units of the picture; no value: the region shows no face.
  std::optional<FaceLandmarker::Result> Run(const Image& image, const Roi& roi) {
    SampleRoi(image, roi, side_, Border::kRepeat, 1.0f / 255, 0, network_->input(0));
    network_->Run();
    FaceLandmarker::Result result;
    result.score = Sigmoid(network_->output(flag_)[0]);
    if (!(result.score > kMinPresence)) return std::nullopt;

    const auto side = static_cast<float>(side_);
    const absl::Span<const float> mesh = network_->output(mesh_);
    for (size_t i = 0; i < mesh.size() / 3; ++i) {
      result.landmarks[i] = {mesh[3 * i] / side, mesh[3 * i + 1] / side, mesh[3 * i + 2] / side};
    }
    if (attention_) {
      Refine(lips_, kLips, result.landmarks);
      Refine(left_eye_, kLeftEye, result.landmarks);
      Refine(right_eye_, kRightEye, result.landmarks);
      AddIris(left_iris_, kLeftEye, kFirstLeftIris, result.landmarks);
      AddIris(right_iris_, kRightEye, kFirstRightIris, result.landmarks);
    }
    ProjectFromRoi(roi, depth_, image.width, image.height, result.landmarks);
    // A damaged weight must not spread; a NaN is no face.
    for (const Point3& p : result.landmarks) {
      if (!std::isfinite(p.x) || !std::isfinite(p.y) || !std::isfinite(p.z)) return std::nullopt;
    }
    return result;
  }

 private:
  template <size_t kCount>
  void Refine(size_t output, const std::array<int16_t, kCount>& points, Landmarks& landmarks) {
    const absl::Span<const float> finer = network_->output(output);
    for (size_t i = 0; i < kCount; ++i) {
      landmarks[points[i]].x = finer[2 * i] / static_cast<float>(side_);
      landmarks[points[i]].y = finer[2 * i + 1] / static_cast<float>(side_);
    }
  }

  // The depth of an iris is the mean depth of its eye's contour.
  void AddIris(size_t output, const std::array<int16_t, 71>& eye, int first, Landmarks& landmarks) {
    const absl::Span<const float> iris = network_->output(output);
    float z = 0;
    for (size_t i = 0; i < kNumContourPoints; ++i) z += landmarks[eye[i]].z;
    z /= static_cast<float>(kNumContourPoints);
    for (int i = 0; i < kNumIrisPoints; ++i) {
      landmarks[first + i] = {iris[2 * i] / static_cast<float>(side_),
                              iris[2 * i + 1] / static_cast<float>(side_), z};
    }
  }

  std::unique_ptr<Network> network_;
  bool attention_ = false;
  Depth depth_ = Depth::kByWidth;
  int side_ = 0;
  // Outputs of the network.
  size_t mesh_ = 0, lips_ = 0, left_eye_ = 0, right_eye_ = 0, left_iris_ = 0, right_iris_ = 0,
         flag_ = 0;
};

class MediaPipeLandmarker : public FaceLandmarker {
 public:
  MediaPipeLandmarker(FaceDetector detector, LandmarkModel model,
                      std::optional<FaceBlendshapes> blendshapes, const Convention& convention)
      : detector_(std::move(detector)),
        model_(std::move(model)),
        blendshapes_(std::move(blendshapes)),
        convention_(convention) {}

  absl::StatusOr<std::optional<Result>> Detect(const Image& image) override {
    absl::StatusOr<std::vector<Result>> faces = DetectAll(image, 1);
    if (!faces.ok()) return faces.status();
    if (faces->empty()) return std::optional<Result>();
    return std::optional<Result>(std::move(faces->front()));
  }

  absl::StatusOr<std::vector<Result>> DetectAll(const Image& image, int max_faces) override {
    if (absl::Status status = Check(image); !status.ok()) return status;
    std::vector<Result> faces;
    std::vector<Detection> detections =
        detector_.Run(image, LetterboxRoi(image.width, image.height));
    detections.resize(std::min(detections.size(), static_cast<size_t>(std::max(max_faces, 0))));
    for (const Detection& detection : detections) {
      std::optional<Result> face = Face(image, Around(detection, image));
      if (face) faces.push_back(*std::move(face));
    }
    return faces;
  }

  absl::StatusOr<std::vector<Result>> Search(const Image& image, int depth,
                                             int max_faces) override {
    if (absl::Status status = Check(image); !status.ok()) return status;
    std::vector<Detection> found = detector_.Run(image, LetterboxRoi(image.width, image.height));
    for (int level = 1; level <= std::min(depth, kMaxDepth); ++level) {
      for (const Roi& square : Squares(image.width, image.height, level)) {
        for (const Detection& detection : detector_.Run(image, square)) {
          if (!Within(detection.box, square)) continue;
          const bool known = std::any_of(found.begin(), found.end(), [&](const Detection& other) {
            return IntersectionOverUnion(detection.box, other.box) > kSameFace;
          });
          if (!known) found.push_back(detection);
        }
      }
    }
    std::stable_sort(found.begin(), found.end(), [](const Detection& a, const Detection& b) {
      return Area(a.box) > Area(b.box);
    });
    std::vector<Result> faces;
    std::vector<Box> boxes;
    for (const Detection& detection : found) {
      if (faces.size() >= static_cast<size_t>(std::max(max_faces, 0))) break;
      std::optional<Result> face = Face(image, Around(detection, image));
      if (!face) continue;
      // Another look at a face found already, or at a part of one.
      const Box box = BoxOf(face->landmarks);
      if (std::any_of(boxes.begin(), boxes.end(),
                      [&box](const Box& other) { return Covered(box, other) > kPartOfFace; })) {
        continue;
      }
      boxes.push_back(box);
      faces.push_back(*std::move(face));
    }
    return faces;
  }

  absl::StatusOr<std::optional<Result>> Follow(const Image& image,
                                               const Landmarks& before) override {
    if (absl::Status status = Check(image); !status.ok()) return status;
    return Face(image, RoiFromLandmarks(before, image.width, image.height));
  }

  absl::StatusOr<std::optional<Result>> Track(const Image& image) override {
    if (absl::Status status = Check(image); !status.ok()) return status;
    if (!next_roi_) {
      const std::vector<Detection> detections =
          detector_.Run(image, LetterboxRoi(image.width, image.height));
      if (detections.empty()) return std::optional<Result>();
      next_roi_ = Around(detections.front(), image);
    }
    std::optional<Result> face = Face(image, *next_roi_);
    next_roi_.reset();
    if (face) next_roi_ = RoiFromLandmarks(face->landmarks, image.width, image.height);
    return face;
  }

  void Reset() override { next_roi_.reset(); }

 private:
  static absl::Status Check(const Image& image) {
    if (image.width > 0 && image.height > 0 &&
        image.rgb.size() == static_cast<size_t>(image.width) * image.height * 3) {
      return absl::OkStatus();
    }
    return Invalid(absl::StrCat("image of ", image.width, " x ", image.height, " with ",
                                image.rgb.size(), " bytes"));
  }

  // Upright squares that cover the picture, each half over the next. Their side is its longer side
  // halved `level` times.
  static std::vector<Roi> Squares(int width, int height, int level) {
    const double side = std::ldexp(std::max(width, height), -level);
    const auto steps = [side](int length) {
      return std::max(static_cast<int>(std::ceil(2 * (length - side) / side - 1e-9)), 0) + 1;
    };
    const auto center = [side](int i, int count, int length) {
      const double share = count == 1 ? 0.5 : static_cast<double>(i) / (count - 1);
      const double first = std::min(side, double{1} * length) / 2;
      return static_cast<float>((first + share * (length - 2 * first)) / length);
    };
    const int columns = steps(width), rows = steps(height);
    std::vector<Roi> squares;
    for (int y = 0; y < rows; ++y) {
      for (int x = 0; x < columns; ++x) {
        squares.push_back({center(x, columns, width), center(y, rows, height),
                           static_cast<float>(side / width), static_cast<float>(side / height), 0});
      }
    }
    return squares;
  }

  // Whether the square shows all of the box that is in the picture.
  static bool Within(const Box& box, const Roi& square) {
    const float half_width = square.width / 2, half_height = square.height / 2;
    return std::max(box.left, 0.0f) >= square.center_x - half_width - kEdge &&
           std::max(box.top, 0.0f) >= square.center_y - half_height - kEdge &&
           std::min(box.right, 1.0f) <= square.center_x + half_width + kEdge &&
           std::min(box.bottom, 1.0f) <= square.center_y + half_height + kEdge;
  }

  // The share of `box` that `other` covers.
  static float Covered(const Box& box, const Box& other) {
    const float width = std::min(box.right, other.right) - std::max(box.left, other.left);
    const float height = std::min(box.bottom, other.bottom) - std::max(box.top, other.top);
    return width > 0 && height > 0 ? width * height / std::max(Area(box), 1e-12f) : 0;
  }

  static float Area(const Box& box) { return (box.right - box.left) * (box.bottom - box.top); }

  Roi Around(const Detection& detection, const Image& image) const {
    return RoiAround(detection.box, detection.keypoints[0], detection.keypoints[1],
                     convention_.square_detections, image.width, image.height);
  }

  std::optional<Result> Face(const Image& image, const Roi& roi) {
    std::optional<Result> face = model_.Run(image, roi);
    if (face && blendshapes_) {
      face->blendshapes = blendshapes_->Run(face->landmarks, image.width, image.height);
    }
    return face;
  }

  FaceDetector detector_;
  LandmarkModel model_;
  std::optional<FaceBlendshapes> blendshapes_;
  const Convention convention_;
  // Where the next frame's face is looked for; no value: anywhere.
  std::optional<Roi> next_roi_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<FaceLandmarker>> FaceLandmarker::Create(Options options) {
  Convention convention = kLegacy;
  std::string blendshape_file;
  // A .tflite file may carry an archive of notes at its end, so its own mark counts first.
  if (!LooksLikeTflite(options.landmark_model) && LooksLikeZip(options.landmark_model)) {
    absl::StatusOr<std::map<std::string, std::string>> files = ReadZip(options.landmark_model);
    if (!files.ok()) {
      return Invalid(absl::StrCat("landmark bundle: ", std::string(files.status().message())));
    }
    convention = kTasks;
    if (options.detector.empty()) options.detector = (*files)["face_detector.tflite"];
    options.landmark_model = (*files)["face_landmarks_detector.tflite"];
    blendshape_file = (*files)["face_blendshapes.tflite"];
    if (options.detector.empty() || options.landmark_model.empty()) {
      return Invalid(
          "landmark bundle: face_detector.tflite or face_landmarks_detector.tflite is missing");
    }
  }
  absl::StatusOr<FaceDetector> detector =
      FaceDetector::Create(options.detector, convention.max_overlap);
  if (!detector.ok()) return detector.status();
  absl::StatusOr<LandmarkModel> model =
      LandmarkModel::Create(options.landmark_model, convention.depth);
  if (!model.ok()) return model.status();
  std::optional<FaceBlendshapes> blendshapes;
  if (options.blendshapes) {
    if (blendshape_file.empty())
      return Invalid("there is no blendshape network beside the landmarks");
    absl::StatusOr<FaceBlendshapes> created = FaceBlendshapes::Create(blendshape_file);
    if (!created.ok()) return created.status();
    blendshapes = *std::move(created);
  }
  return std::make_unique<MediaPipeLandmarker>(*std::move(detector), *std::move(model),
                                               std::move(blendshapes), convention);
}

}  // namespace reenact
