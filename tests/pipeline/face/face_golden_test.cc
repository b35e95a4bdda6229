// Compares networks and landmarks with what MediaPipe and LiteRT gave (golden/face/README.md).
// Which pictures, frames and models: as the files' metadata say.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <map>
#include <optional>

#include "pipeline/face/detection.h"
#include "pipeline/face/face_landmarker.h"
#include "pipeline/face/network.h"
#include "pipeline/face/roi.h"
#include "pipeline/face/zip.h"
#include "pipeline/media/image_codec.h"
#include "pipeline/media/video_reader.h"
#include "tests/support/paths.h"
#include "tests/support/safetensors_lite.h"
#include "tests/support/sha256.h"

namespace reenact {
namespace {

using testing::DataDir;
using testing::FilesWithPrefix;
using testing::GoldenDir;
using testing::ReadFile;
using testing::SafetensorsLite;
using testing::Sha256Hex;

// Outer corners of the eyes: the distance between them is the unit of landmark errors.
constexpr int kEyeA = 33;
constexpr int kEyeB = 263;

std::string Hash(const std::string& bytes) {
  return Sha256Hex(reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size());
}

// A model file by the SHA-256 the golden values were made with, from the folder of model files, the
// bundle's folder or the data; "" if it is nowhere.
std::string ModelFile(const std::string& name, const std::string& sha256) {
  const std::string models = testing::FolderFrom("REENACT_FACE_MODELS", {".deps/mediapipe"});
  for (const std::string& folder : {models, DataDir() + "/mediapipe"}) {
    const std::string bytes = ReadFile(folder + "/" + name);
    if (!bytes.empty() && Hash(bytes) == sha256) return bytes;
  }
  return "";
}

// The .task bundle with this hash, whatever it is called.
std::string TaskFile(const std::string& sha256) {
  const std::string models = testing::FolderFrom("REENACT_FACE_MODELS", {".deps/mediapipe"});
  for (const std::string& folder : {models, DataDir() + "/mediapipe"}) {
    for (const std::string& path : FilesWithPrefix(folder, "", ".task")) {
      std::string bytes = ReadFile(path);
      if (sha256.empty() || Hash(bytes) == sha256) return bytes;
    }
  }
  return "";
}

// Pictures and video frames by the golden files' names: "FILE" or "FILE#INDEX". Frames of one video
// must be asked for in rising order; then each is decoded once.
class Pictures {
 public:
  absl::StatusOr<Image> Get(const std::string& name) {
    const size_t mark = name.rfind('#');
    if (mark == std::string::npos) {
      const std::string bytes = ReadFile(Path(name));
      return DecodeImage(bytes, ImageLimits(), Orientation::kIgnore);
    }
    return Frame(name.substr(0, mark), std::stoi(name.substr(mark + 1)));
  }

  // No value in the result: the video has ended.
  absl::StatusOr<std::optional<Image>> Next(const std::string& video) {
    Open& open = videos_[video];
    if (open.reader == nullptr) {
      absl::StatusOr<std::unique_ptr<VideoReader>> reader =
          VideoReader::Open(ReadFile(Path(video)));
      if (!reader.ok()) return reader.status();
      open.reader = *std::move(reader);
    }
    absl::StatusOr<std::optional<VideoFrame>> frame = open.reader->Next();
    if (!frame.ok()) return frame.status();
    if (!frame->has_value()) return std::optional<Image>();
    ++open.next;
    return std::optional<Image>(std::move((*frame)->image));
  }

 private:
  struct Open {
    std::unique_ptr<VideoReader> reader;
    int next = 0;
  };

  // Most names are relative to the data; pictures made for the golden files lie beside those.
  static std::string Path(const std::string& name) {
    const std::string data = DataDir() + "/" + name;
    return std::filesystem::exists(data) ? data : GoldenDir() + "/" + name;
  }

  absl::StatusOr<Image> Frame(const std::string& video, int index) {
    if (videos_[video].next > index) videos_.erase(video);
    while (true) {
      absl::StatusOr<std::optional<Image>> image = Next(video);
      if (!image.ok()) return image.status();
      if (!image->has_value()) return absl::NotFoundError("the video is shorter");
      if (videos_[video].next == index + 1) return **std::move(image);
    }
  }

  std::map<std::string, Open> videos_;
};

// Errors of many faces, in percent of the inter-ocular distance.
class Errors {
 public:
  void Add(const Landmarks& actual, const float* expected, int width, int height) {
    const auto x = [&](int i) { return expected[3 * i] * static_cast<float>(width); };
    const auto y = [&](int i) { return expected[3 * i + 1] * static_cast<float>(height); };
    const double unit = std::hypot(x(kEyeB) - x(kEyeA), y(kEyeB) - y(kEyeA));
    double sum = 0;
    for (int i = 0; i < kNumLandmarks; ++i) {
      sum += std::hypot(actual[i].x * static_cast<float>(width) - x(i),
                        actual[i].y * static_cast<float>(height) - y(i));
      depth_ = std::max(depth_,
                        100 * std::abs(double{actual[i].z} - expected[3 * i + 2]) * width / unit);
    }
    const double error = 100 * sum / kNumLandmarks / unit;
    sum_ += error;
    worst_ = std::max(worst_, error);
    ++count_;
  }

  int count() const { return count_; }
  double mean() const { return count_ == 0 ? 0 : sum_ / count_; }
  double worst() const { return worst_; }
  double depth() const { return depth_; }

 private:
  int count_ = 0;
  double sum_ = 0, worst_ = 0, depth_ = 0;
};

std::string HashOf(const Image& image) { return Sha256Hex(image.rgb.data(), image.rgb.size()); }

void ExpectWithinBounds(const Errors& errors, const std::string& what) {
  EXPECT_GT(errors.count(), 0) << what << ": no face was compared";
  EXPECT_LT(errors.mean(), 0.2) << what << ": mean error in % of the inter-ocular distance";
  EXPECT_LT(errors.worst(), 1.5) << what << ": worst picture's error in % of the same";
  EXPECT_LT(errors.depth(), 3.0) << what << ": worst depth in % of the same";
  std::printf("[ MEASURED ] %s: %d faces, mean %.4f %%, worst %.4f %%, worst z %.4f %% IOD\n",
              what.c_str(), errors.count(), errors.mean(), errors.worst(), errors.depth());
}

#define REQUIRE_FILE(content, what)                                            \
  if ((content).empty()) {                                                     \
    if (testing::MustHaveData()) FAIL() << (what) << " is not there";          \
    GTEST_SKIP() << (what) << " with the golden values' SHA-256 is not there"; \
  }                                                                            \
  static_assert(true, "")

std::vector<std::string> Golden(const std::string& prefix) {
  return FilesWithPrefix(GoldenDir() + "/face", prefix);
}

TEST(FaceMeshAttention, MatchesMediaPipeOnPicturesAndTracking) {
  REENACT_REQUIRE_DATA();
  const std::vector<std::string> files = Golden("facemesh_attention");
  REQUIRE_FILE(files, "golden/face/facemesh_attention*.safetensors");
  for (const std::string& path : files) {
    SCOPED_TRACE(path);
    const SafetensorsLite golden(path);
    const auto hashes = nlohmann::json::parse(golden.Metadata("model_sha256"))
                            .get<std::map<std::string, std::string>>();
    FaceLandmarker::Options options;
    for (const auto& [name, hash] : hashes) {
      const std::string bytes = ModelFile(name, hash);
      REQUIRE_FILE(bytes, name);
      (name.find("landmark") != std::string::npos ? options.landmark_model : options.detector) =
          bytes;
    }
    auto landmarker = FaceLandmarker::Create(options);
    ASSERT_TRUE(landmarker.ok()) << landmarker.status();
    Pictures pictures;

    ASSERT_TRUE(golden.Has("static.landmarks") && golden.Has("tracked.landmarks"));
    const std::vector<std::string> names = golden.MetadataList("static.names");
    const std::vector<std::string> sha256 = golden.MetadataList("static.rgb_sha256");
    const std::vector<uint8_t> found = golden.Bytes("static.found");
    const std::vector<float> expected = golden.Floats("static.landmarks");
    ASSERT_EQ(names.size(), found.size());
    Errors still;
    for (size_t i = 0; i < names.size(); ++i) {
      SCOPED_TRACE(names[i]);
      const absl::StatusOr<Image> image = pictures.Get(names[i]);
      ASSERT_TRUE(image.ok()) << image.status();
      ASSERT_EQ(HashOf(*image), sha256[i]) << "the decoder gives other pixels";
      const auto face = (*landmarker)->Detect(*image);
      ASSERT_TRUE(face.ok()) << face.status();
      EXPECT_EQ(face->has_value(), found[i] != 0);
      if (!face->has_value() || found[i] == 0) continue;
      still.Add((*face)->landmarks, &expected[i * 3 * kNumLandmarks], image->width, image->height);
    }
    ExpectWithinBounds(still, "static");

    const std::string video = golden.Metadata("tracked.name");
    const std::vector<uint8_t> tracked_found = golden.Bytes("tracked.found");
    const std::vector<float> tracked = golden.Floats("tracked.landmarks");
    Errors moving;
    Pictures frames;
    for (size_t i = 0; i < tracked_found.size(); ++i) {
      SCOPED_TRACE(i);
      const auto image = frames.Next(video);
      ASSERT_TRUE(image.ok()) << image.status();
      ASSERT_TRUE(image->has_value()) << "the video is shorter";
      const auto face = (*landmarker)->Track(**image);
      ASSERT_TRUE(face.ok()) << face.status();
      EXPECT_EQ(face->has_value(), tracked_found[i] != 0);
      if (!face->has_value() || tracked_found[i] == 0) continue;
      moving.Add((*face)->landmarks, &tracked[i * 3 * kNumLandmarks], (*image)->width,
                 (*image)->height);
    }
    ExpectWithinBounds(moving, "tracked");
  }
}

TEST(FaceMeshV2, BundleMatchesMediaPipeTasks) {
  REENACT_REQUIRE_DATA();
  std::vector<std::string> files = Golden("facemesh");
  std::erase_if(files, [](const std::string& path) {  // those of the other pipeline
    return SafetensorsLite(path).Metadata("task_sha256").empty();
  });
  REQUIRE_FILE(files, "golden/face/facemesh*.safetensors of a .task bundle");
  for (const std::string& path : files) {
    const SafetensorsLite golden(path);
    SCOPED_TRACE(path);
    FaceLandmarker::Options options;
    options.landmark_model = TaskFile(golden.Metadata("task_sha256"));
    REQUIRE_FILE(options.landmark_model, "the .task bundle");
    options.blendshapes = true;
    auto landmarker = FaceLandmarker::Create(options);
    ASSERT_TRUE(landmarker.ok()) << landmarker.status();
    Pictures pictures;

    const std::vector<std::string> names = golden.MetadataList("names");
    const std::vector<std::string> sha256 = golden.MetadataList("rgb_sha256");
    const std::vector<uint8_t> found = golden.Bytes("found");
    const std::vector<float> expected = golden.Floats("landmarks");
    const std::vector<float> blendshapes = golden.Floats("blendshapes");
    const size_t num_blendshapes = golden.Shape("blendshapes").back();
    Errors errors;
    double worst_blendshape = 0;
    for (size_t i = 0; i < names.size(); ++i) {
      SCOPED_TRACE(names[i]);
      const absl::StatusOr<Image> image = pictures.Get(names[i]);
      ASSERT_TRUE(image.ok()) << image.status();
      ASSERT_EQ(HashOf(*image), sha256[i]) << "the decoder gives other pixels";
      const auto face = (*landmarker)->Detect(*image);
      ASSERT_TRUE(face.ok()) << face.status();
      EXPECT_EQ(face->has_value(), found[i] != 0);
      if (!face->has_value() || found[i] == 0) continue;
      errors.Add((*face)->landmarks, &expected[i * 3 * kNumLandmarks], image->width, image->height);
      ASSERT_EQ((*face)->blendshapes.size(), num_blendshapes);
      for (size_t k = 0; k < num_blendshapes; ++k) {
        worst_blendshape = std::max(
            worst_blendshape,
            std::abs(double{(*face)->blendshapes[k]} - blendshapes[i * num_blendshapes + k]));
      }
    }
    ExpectWithinBounds(errors, "bundle");
    EXPECT_LT(worst_blendshape, 0.03);
    std::printf("[ MEASURED ] worst blendshape difference %.5f\n", worst_blendshape);

    if (!golden.Has("multi.landmarks")) continue;
    const absl::StatusOr<Image> crowd = pictures.Get(golden.Metadata("multi.file"));
    ASSERT_TRUE(crowd.ok()) << crowd.status();
    ASSERT_EQ(HashOf(*crowd), golden.Metadata("multi.rgb_sha256"));
    const std::vector<float> faces = golden.Floats("multi.landmarks");
    const auto actual =
        (*landmarker)->DetectAll(*crowd, std::stoi(golden.Metadata("multi.num_faces")));
    ASSERT_TRUE(actual.ok()) << actual.status();
    ASSERT_EQ(actual->size(), golden.Shape("multi.landmarks")[0]);
    Errors several;
    for (size_t i = 0; i < actual->size(); ++i) {
      several.Add((*actual)[i].landmarks, &faces[i * 3 * kNumLandmarks], crowd->width,
                  crowd->height);
    }
    ExpectWithinBounds(several, "several faces");
  }
}

// Largest difference over the largest expected value.
double RelativeError(absl::Span<const float> actual, const std::vector<float>& expected) {
  double largest = 0, difference = 0;
  for (size_t i = 0; i < expected.size(); ++i) {
    largest = std::max(largest, std::abs(double{expected[i]}));
    difference = std::max(difference, std::abs(double{actual[i]} - expected[i]));
  }
  return difference / largest;
}

// The output with as many numbers as expected.
void ExpectOutput(const Network& network, const std::vector<float>& expected,
                  const std::string& what) {
  for (size_t i = 0; i < network.outputs().size(); ++i) {
    if (network.outputs()[i].elements != expected.size()) continue;
    const double error = RelativeError(network.output(i), expected);
    EXPECT_LT(error, 1e-4) << what;
    std::printf("[ MEASURED ] %s: %.2e of the largest value\n", what.c_str(), error);
    return;
  }
  FAIL() << what << ": no output has " << expected.size() << " numbers";
}

TEST(TfliteNetworks, MatchLiteRtWithEveryInstructionSet) {
  REENACT_REQUIRE_DATA();
  const std::vector<std::string> files = Golden("tflite_io");
  REQUIRE_FILE(files, "golden/face/tflite_io*.safetensors");
  for (const std::string& path : files) {
    const SafetensorsLite golden(path);
    // The bundle is named here, or by the other file made with it.
    std::string sha256 = golden.Metadata("task_sha256");
    for (const std::string& other : Golden("facemesh")) {
      if (!sha256.empty()) break;
      const std::string hash = SafetensorsLite(other).Metadata("task_sha256");
      if (!hash.empty()) sha256 = hash;
    }
    const std::string bundle = TaskFile(sha256);
    REQUIRE_FILE(bundle, "the .task bundle");
    const auto entries = ReadZip(bundle);
    ASSERT_TRUE(entries.ok()) << entries.status();
    const std::map<std::string, std::string> networks = {
        {"detector", "face_detector.tflite"},
        {"landmark", "face_landmarks_detector.tflite"},
        {"blend", "face_blendshapes.tflite"}};
    for (const Kernels* kernels : AvailableKernels()) {
      for (const auto& [role, file] : networks) {
        auto network = Network::Create(entries->at(file), *kernels);
        ASSERT_TRUE(network.ok()) << network.status();
        for (const std::string& name : golden.Names()) {
          // CASE.ROLE.in, and every other CASE.ROLE.* is an output.
          const std::string suffix = "." + role + ".in";
          if (!name.ends_with(suffix)) continue;
          const std::string prefix = name.substr(0, name.size() - 2);
          const std::vector<float> input = golden.Floats(name);
          ASSERT_EQ(input.size(), (*network)->input(0).size());
          std::copy(input.begin(), input.end(), (*network)->input(0).begin());
          (*network)->Run();
          for (const std::string& output : golden.Names()) {
            if (!output.starts_with(prefix) || output == name || output == prefix + "image_norm") {
              continue;
            }
            ExpectOutput(**network, golden.Floats(output),
                         std::string(kernels->name) + " " + output);
          }
        }
      }
    }
  }
}

TEST(TfliteNetworks, DetectionAndRegionFollowMediaPipe) {
  REENACT_REQUIRE_DATA();
  for (const std::string& path : Golden("tflite_io")) {
    const SafetensorsLite golden(path);
    const auto inputs =
        nlohmann::json::parse(golden.Metadata("inputs")).get<std::map<std::string, std::string>>();
    Pictures pictures;
    for (const auto& [name, file] : inputs) {
      SCOPED_TRACE(name);
      const absl::StatusOr<Image> image = pictures.Get(file);
      ASSERT_TRUE(image.ok()) << image.status();

      std::vector<float> pixels(3 * kDetectorSide * kDetectorSide);
      SampleRoi(*image, LetterboxRoi(image->width, image->height), kDetectorSide, Border::kZero,
                2.0f / 255, -1, absl::MakeSpan(pixels));
      const std::vector<Detection> detections =
          MergeOverlapping(DecodeDetections(golden.Floats(name + ".detector.regressors"),
                                            golden.Floats(name + ".detector.classificators"),
                                            DetectorAnchors(), 0.5f),
                           0.5f);

      // A weight of 1/32 pixel and the rounding to 8 bits: at most 2/255 of the range of 2.
      const std::vector<float> expected = golden.Floats(name + ".detector.in");
      double difference = 0;
      for (size_t i = 0; i < expected.size(); ++i) {
        difference = std::max(difference, std::abs(double{pixels[i]} - expected[i]));
      }
      EXPECT_LT(difference, 2 * 2.01 / 255);
      ASSERT_FALSE(detections.empty());
      const Detection& best = detections.front();
      EXPECT_NEAR(best.score, golden.Floats(name + ".detection.score")[0], 1e-5);
      const Roi letterbox = LetterboxRoi(image->width, image->height);
      const auto x = [&](float v) { return (v - 0.5f) * letterbox.width + 0.5f; };
      const auto y = [&](float v) { return (v - 0.5f) * letterbox.height + 0.5f; };
      const Box box = {x(best.box.left), y(best.box.top), x(best.box.right), y(best.box.bottom)};
      EXPECT_THAT(golden.Floats(name + ".detection.box_xyxy_norm"),
                  ::testing::Pointwise(::testing::FloatNear(1e-4f),
                                       {box.left, box.top, box.right, box.bottom}));
      std::vector<float> keypoints;
      for (const Point3& p : best.keypoints) {
        keypoints.push_back(x(p.x));
        keypoints.push_back(y(p.y));
      }
      EXPECT_THAT(golden.Floats(name + ".detection.keypoints_norm"),
                  ::testing::Pointwise(::testing::FloatNear(1e-4f), keypoints));
      const Roi roi =
          RoiAround(box, {keypoints[0], keypoints[1], 0}, {keypoints[2], keypoints[3], 0},
                    /*square=*/false, image->width, image->height);
      const double width = image->width, height = image->height;
      const std::vector<double> actual = {roi.center_x * width, roi.center_y * height,
                                          roi.width * width, roi.height * height, roi.rotation};
      EXPECT_THAT(golden.Doubles(name + ".roi.cx_cy_w_h_px_rot"),
                  ::testing::Pointwise(::testing::DoubleNear(0.05), actual));
    }
  }
}

}  // namespace
}  // namespace reenact
