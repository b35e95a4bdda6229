// Damaged model files: an error that says so, or a network that runs; never a crash. With the
// sanitizers this is where a missing bounds check shows.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>
#include <random>

#include "pipeline/face/face_landmarker.h"
#include "pipeline/face/flexbuffer.h"
#include "pipeline/face/network.h"
#include "pipeline/face/zip.h"
#include "tests/pipeline/face/tflite_writer.h"
#include "tests/support/paths.h"
#include "tests/support/zip_builder.h"

namespace reenact {
namespace {

using testing::FlexMapBytes;
using ::testing::HasSubstr;
using testing::ReadFile;
using testing::TfliteWriter;

// A file with most kinds of structures in it, small enough that every byte matters.
std::string SmallModel() {
  TfliteWriter w;
  const int x = w.Input({1, 6, 6, 3});
  const int filter = w.Constant({16, 3, 3, 3}, std::vector<float>(16 * 27, 0.1f));
  const int bias = w.Constant({16}, std::vector<float>(16, 0.5f));
  const TfliteWriter::Fields conv = {
      {0, 1, 0, false}, {1, 4, 2, false}, {2, 4, 2, false}, {3, 1, 1, false}};
  const int y = w.Op(3, {x, filter, bias}, {1, 3, 3, 16}, conv);
  const int depthwise = w.Constant({1, 3, 3, 16}, std::vector<float>(9 * 16, 0.2f));
  const TfliteWriter::Fields options = {
      {0, 1, 0, false}, {1, 4, 1, false}, {2, 4, 1, false}, {3, 4, 1, false}};
  const int z = w.Op(4, {y, depthwise}, {1, 3, 3, 16}, options);
  const int sum = w.Op(0, {z, y}, {1, 3, 3, 16});
  const int pads = w.Constant({4, 2}, std::vector<int32_t>{0, 0, 0, 0, 0, 0, 0, 16});
  const int padded = w.Op(34, {sum, pads}, {1, 3, 3, 32});
  const int axes = w.Constant({2}, std::vector<int32_t>{1, 2});
  const int mean = w.Op(40, {padded, axes}, {1, 32});
  const int half = w.HalfConstant({4, 32}, std::vector<uint16_t>(128, 0x3800));
  const int weights = w.Op(6, {half}, {4, 32});
  const int few = w.Op(9, {mean, weights}, {1, 4});
  const int begin = w.Constant({2}, std::vector<int32_t>{0, 1});
  const int end = w.Constant({2}, std::vector<int32_t>{1, 4});
  const int step = w.Constant({2}, std::vector<int32_t>{1, 1});
  const int three = w.Op(45, {few, begin, end, step}, {1, 3});
  const int mesh = w.Op(22, {three}, {1, 1, 3});
  const int box = w.CustomOp("Landmarks2TransformMatrix", {mesh}, {1, 4, 4},
                             FlexMapBytes({{"left_rotation_idx", 0},
                                           {"right_rotation_idx", 0},
                                           {"target_rotation_radians", 0},
                                           {"output_width", 2},
                                           {"output_height", 2},
                                           {"scale_x", 1},
                                           {"scale_y", 1}},
                                          {{"subset_idxs", {0}}}));
  w.Output(w.CustomOp("TransformTensorBilinear", {padded, box}, {1, 2, 2, 32},
                      FlexMapBytes({{"output_height", 2}, {"output_width", 2}}, {})));
  w.Output(w.Op(2, {few, few}, {1, 8}, {{0, 4, 1, false}}));
  return w.Write();
}

// Whether the bytes still make a network. If so it must run, if not the error must say something.
bool TryModel(const std::string& bytes) {
  auto network = Network::Create(bytes, *AvailableKernels().front());
  if (!network.ok()) {
    EXPECT_EQ(network.status().code(), absl::StatusCode::kInvalidArgument);
    EXPECT_GT(network.status().message().size(), 10u);
    return false;
  }
  for (size_t i = 0; i < (*network)->inputs().size(); ++i) {
    for (float& value : (*network)->input(i)) value = 0.25f;
  }
  (*network)->Run();
  return true;
}

TEST(CorruptModelTest, IntactModelRuns) { EXPECT_TRUE(TryModel(SmallModel())); }

TEST(CorruptModelTest, TruncatedAnywhere) {
  const std::string model = SmallModel();
  for (size_t size = 0; size < model.size(); ++size) {
    SCOPED_TRACE(size);
    TryModel(model.substr(0, size));
  }
}

TEST(CorruptModelTest, EveryByteReplaced) {
  const std::string model = SmallModel();
  int refused = 0;
  for (size_t i = 0; i < model.size(); ++i) {
    for (const char value : {'\0', '\x01', '\x7f', '\x80', '\xff'}) {
      SCOPED_TRACE(i);
      std::string damaged = model;
      damaged[i] = value;
      if (!TryModel(damaged)) ++refused;
    }
  }
  EXPECT_GT(refused, 500) << "the damage hardly ever mattered: is the file still the right one?";
}

TEST(CorruptModelTest, RandomDamage) {
  const std::string model = SmallModel();
  std::mt19937 bits(20240607);
  for (int round = 0; round < 3000; ++round) {
    SCOPED_TRACE(round);
    std::string damaged = model;
    const int changes = 1 + static_cast<int>(bits() % 8);
    for (int i = 0; i < changes; ++i) {
      const size_t at = bits() % (damaged.size() - 4);
      // Single bits, bytes, and whole offsets.
      if (bits() % 3 == 0) {
        const auto number = static_cast<uint32_t>(bits() % 2 == 0 ? bits() : bits() % 4096);
        std::memcpy(&damaged[at], &number, sizeof(number));
      } else {
        damaged[at] = static_cast<char>(damaged[at] ^ (1u << bits() % 8));
      }
    }
    TryModel(damaged);
  }
}

// The real files: damage to their structure, which lies outside the weights.
TEST(CorruptModelTest, RealModelsDamaged) {
  const std::string folder = testing::FolderFrom("REENACT_FACE_MODELS", {".deps/mediapipe"});
  for (const char* name :
       {"face_detection_short_range.tflite", "face_landmark_with_attention.tflite"}) {
    const std::string model = ReadFile(folder + "/" + name);
    if (model.empty()) GTEST_SKIP() << name << " is not there";
    SCOPED_TRACE(name);
    for (int i = 0; i < 40; ++i) {
      const auto network = Network::Create(model.substr(0, model.size() * i / 40));
      EXPECT_EQ(network.status().code(), absl::StatusCode::kInvalidArgument) << i;
    }
    std::mt19937 bits(7);
    for (int round = 0; round < 60; ++round) {
      std::string damaged = model;
      // Tables lie at the beginning or at the end of the file, depending on its writer.
      const size_t span = std::min<size_t>(model.size(), 60'000);
      const size_t from = round % 2 == 0 ? 0 : model.size() - span;
      for (int i = 0; i < 20; ++i) {
        const size_t at = from + bits() % span;
        damaged[at] = static_cast<char>(bits());
      }
      auto network = Network::Create(damaged);
      if (network.ok()) (*network)->Run();
    }
  }
}

TEST(FlexBufferTest, DamageIsNoticedOrHarmless) {
  const std::string bytes =
      FlexMapBytes({{"scale_x", 1.5}, {"output_width", 16}}, {{"subset_idxs", {3, -1, 300}}});

  const auto intact = ParseFlexMap(bytes);

  ASSERT_TRUE(intact.ok()) << intact.status();
  EXPECT_EQ(intact->at("scale_x"), std::vector<double>{1.5});
  EXPECT_EQ(intact->at("subset_idxs"), (std::vector<double>{3, -1, 300}));
  for (size_t size = 0; size < bytes.size(); ++size) (void)ParseFlexMap(bytes.substr(0, size));
  for (size_t i = 0; i < bytes.size(); ++i) {
    for (int value = 0; value < 256; ++value) {
      std::string damaged = bytes;
      damaged[i] = static_cast<char>(value);
      (void)ParseFlexMap(damaged);
    }
  }
}

// An archive with one stored and one deflated file; archives may begin with anything.
std::string SmallZip(const std::string& stored, const std::string& deflated) {
  return testing::ZipArchive({{.name = "stored", .text = stored},
                              {.name = "deflated", .text = deflated, .deflated = true}},
                             /*zip64=*/false, /*claimed_size=*/0, /*prefix=*/"xx");
}

TEST(ZipTest, StoredAndDeflatedFiles) {
  const std::string text(5000, 'a');

  const auto files = ReadZip(SmallZip("hello", text));

  ASSERT_TRUE(files.ok()) << files.status();
  EXPECT_EQ(files->at("stored"), "hello");
  EXPECT_EQ(files->at("deflated"), text);
}

TEST(ZipTest, DamageIsNoticedOrHarmless) {
  const std::string zip = SmallZip("hello", std::string(300, 'a') + "b");
  for (size_t size = 0; size < zip.size(); ++size) {
    EXPECT_FALSE(ReadZip(zip.substr(0, size)).ok()) << size;
  }
  for (size_t i = 0; i < zip.size(); ++i) {
    for (const char value : {'\0', '\x7f', '\xff'}) {
      std::string damaged = zip;
      damaged[i] = value;
      const auto files = ReadZip(damaged);
      if (files.ok()) continue;
      EXPECT_EQ(files.status().code(), absl::StatusCode::kInvalidArgument);
    }
  }
}

TEST(ZipTest, ChangedContentFailsItsChecksum) {
  std::string zip = SmallZip("hello", "world");
  zip[zip.find("hello")] = 'j';

  EXPECT_THAT(std::string(ReadZip(zip).status().message()), HasSubstr("checksum"));
}

TEST(FaceLandmarkerTest, BadFilesAreNamed) {
  const auto message = [](const std::string& detector, const std::string& landmarks) {
    FaceLandmarker::Options options;
    options.detector = detector;
    options.landmark_model = landmarks;
    const auto landmarker = FaceLandmarker::Create(options);
    EXPECT_EQ(landmarker.status().code(), absl::StatusCode::kInvalidArgument);
    return std::string(landmarker.status().message());
  };

  EXPECT_THAT(message("", ""), HasSubstr("face detector: not a .tflite file"));
  EXPECT_THAT(message(SmallModel(), ""), HasSubstr("not the short-range detector"));
  EXPECT_THAT(message("", SmallZip("a", "b")), HasSubstr("landmark bundle"));

  const std::string folder = testing::FolderFrom("REENACT_FACE_MODELS", {".deps/mediapipe"});
  const std::string detector = ReadFile(folder + "/face_detection_short_range.tflite");
  if (detector.empty()) GTEST_SKIP() << "no detector";
  EXPECT_THAT(message(detector, detector), HasSubstr("landmark model: neither"));
  EXPECT_THAT(message(detector, detector.substr(0, 1000)), HasSubstr("landmark model: damaged"));
}

TEST(FaceLandmarkerTest, InconsistentImagesAreRefused) {
  const std::string folder = testing::FolderFrom("REENACT_FACE_MODELS", {".deps/mediapipe"});
  FaceLandmarker::Options options;
  options.detector = ReadFile(folder + "/face_detection_short_range.tflite");
  options.landmark_model = ReadFile(folder + "/face_landmark_with_attention.tflite");
  if (options.detector.empty() || options.landmark_model.empty()) GTEST_SKIP() << "no models";
  auto landmarker = FaceLandmarker::Create(options);
  ASSERT_TRUE(landmarker.ok()) << landmarker.status();

  for (const Image& image : {Image(), Image{2, 2, std::vector<uint8_t>(11)}, Image{-1, 2, {}}}) {
    EXPECT_EQ((*landmarker)->Detect(image).status().code(), absl::StatusCode::kInvalidArgument);
    EXPECT_EQ((*landmarker)->Track(image).status().code(), absl::StatusCode::kInvalidArgument);
  }
  for (const Image& image :
       {Image{1, 1, std::vector<uint8_t>(3)}, Image{3, 4000, std::vector<uint8_t>(36000, 200)}}) {
    const auto face = (*landmarker)->Detect(image);
    ASSERT_TRUE(face.ok()) << face.status();
    EXPECT_FALSE(face->has_value());
  }
}

}  // namespace
}  // namespace reenact
