// Two synthetic people side by side drive two others, with the demo bundle: what each of the
// generated faces does, as a landmark network sees it, is what its own driver does.
#include <gtest/gtest.h>

#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <numbers>
#include <string>
#include <utility>
#include <vector>

#include "pipeline/face/face_landmarker.h"
#include "pipeline/media/image_codec.h"
#include "pipeline/reenactor/face_models.h"
#include "pipeline/reenactor/reenactor.h"
#include "tests/support/encode_clip.h"
#include "training/people/people.h"

namespace reenact {
namespace {

constexpr int kFrames = 12;
constexpr int kSide = 256;
constexpr float kMaxYaw = 25;

std::string ModelsFolder() {
  return std::getenv("REENACT_FACE_MODELS") == nullptr
             ? std::string(REENACT_SOURCE_DIR) + "/.deps/mediapipe"
             : std::string();
}

// The left person swings as a sine, the right one as a cosine: neither tells of the other.
float YawOf(int person, int frame) {
  const double turn = 2 * std::numbers::pi * frame / kFrames;
  return kMaxYaw * static_cast<float>(person == 0 ? std::sin(turn) : std::cos(turn));
}

Image Draw(uint64_t seed, float yaw) {
  FaceState state;
  state.pose.yaw = yaw;
  return PersonRenderer(MakePerson(seed)).Draw(state, kSide).image;
}

// Where the nose is between the outer corners of the eyes: -0.5 to 0.5, grows with yaw.
double NoseOffset(const Landmarks& face) {
  const double left = face[33].x, right = face[263].x;
  return (face[1].x - left) / (right - left) - 0.5;
}

double Correlation(const std::vector<double>& a, const std::vector<double>& b) {
  double mean_a = 0, mean_b = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    mean_a += a[i] / static_cast<double>(a.size());
    mean_b += b[i] / static_cast<double>(b.size());
  }
  double ab = 0, aa = 0, bb = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    ab += (a[i] - mean_a) * (b[i] - mean_b);
    aa += (a[i] - mean_a) * (a[i] - mean_a);
    bb += (b[i] - mean_b) * (b[i] - mean_b);
  }
  return ab / std::sqrt(aa * bb);
}

std::string Driving() {
  VideoWriter::Options options;
  options.time_base_den = 25;
  options.crf = 10;
  std::vector<Image> images;
  std::vector<int64_t> times = {0};
  for (int i = 0; i < kFrames; ++i) {
    const Image left = Draw(11, YawOf(0, i)), right = Draw(24, YawOf(1, i));
    Image both;
    both.width = 2 * kSide;
    both.height = kSide;
    for (int y = 0; y < kSide; ++y) {
      for (const Image* part : {&left, &right}) {
        const auto row = part->rgb.begin() + ptrdiff_t{3} * y * kSide;
        both.rgb.insert(both.rgb.end(), row, row + ptrdiff_t{3} * kSide);
      }
    }
    images.push_back(std::move(both));
    times.push_back(i + 1);
  }
  return testing::EncodeClip(std::move(options), images, times);
}

FaceSelection Nth(int index) {
  FaceSelection selection;
  selection.by = FaceSelection::By::kIndex;
  selection.index = index;
  return selection;
}

TEST(TwoDriversTest, EveryFaceFollowsItsOwnDriver) {
  const auto models = ReadFaceModels(FaceModelsFolder(ModelsFolder()), "", FaceModelNames());
  if (!models.ok()) GTEST_SKIP() << models.status();
  ReenactorOptions options;
  options.bundles = {std::string(REENACT_SOURCE_DIR) + "/demo"};
  options.face_models = ModelsFolder();
  options.num_threads = 1;
  auto engine = CreateReenactor(options);
  ASSERT_TRUE(engine.ok()) << engine.status();
  JobRequest request;
  request.source.image = *EncodePng(Draw(5, 0));
  request.driver_face = Nth(0);
  FacePair pair;
  pair.source.image = *EncodePng(Draw(8, 0));
  pair.driver_face = Nth(1);
  request.further_faces = {pair};
  request.format = OutputFormat::kRawRgb;
  request.output_size = kSide;
  request.num_steps = 6;
  auto job = (*engine)->CreateJob(request);
  ASSERT_TRUE(job.ok()) << job.status();
  ASSERT_TRUE((*job)->AddDriving(Driving()).ok());
  ASSERT_TRUE((*job)->FinishDriving().ok());
  std::vector<Output> outputs;
  for (int turn = 0; turn < 10'000 && !(*job)->rendered(); ++turn) {
    const auto prepared = (*job)->Prepare();
    ASSERT_TRUE(prepared.ok()) << prepared.status();
    const StepShare share = {.job = job->get(), .num_rows = (*job)->row_demand().max_rows};
    if (share.num_rows > 0) {
      const auto statuses = (*engine)->Step({&share, 1});
      ASSERT_TRUE(statuses[0].ok()) << statuses[0];
    }
    while ((*job)->renderable()) {
      auto some = (*job)->Render();
      ASSERT_TRUE(some.ok()) << some.status();
      for (Output& output : *some) outputs.push_back(std::move(output));
    }
  }
  ASSERT_EQ(outputs.size(), size_t{kFrames});

  FaceLandmarker::Options how;
  how.detector = models->detector;
  how.landmark_model = models->landmark_model;
  auto landmarker = FaceLandmarker::Create(std::move(how));
  ASSERT_TRUE(landmarker.ok()) << landmarker.status();
  for (int square = 0; square < 2; ++square) {
    std::vector<double> seen, own, other;
    for (int i = 0; i < kFrames; ++i) {
      ASSERT_EQ(outputs[static_cast<size_t>(i)].width, 2 * kSide);
      const std::string& data = outputs[static_cast<size_t>(i)].data;
      Image image;
      image.width = image.height = kSide;
      for (int y = 0; y < kSide; ++y) {
        const auto row = data.begin() + ptrdiff_t{3} * (y * 2 * kSide + square * kSide);
        image.rgb.insert(image.rgb.end(), row, row + ptrdiff_t{3} * kSide);
      }
      const auto face = (*landmarker)->Detect(image);
      ASSERT_TRUE(face.ok()) << face.status();
      if (!face->has_value()) continue;
      seen.push_back(NoseOffset((*face)->landmarks));
      own.push_back(YawOf(square, i));
      other.push_back(YawOf(1 - square, i));
    }
    ASSERT_GE(seen.size(), size_t{kFrames - 2}) << "square " << square;
    std::printf("square %d: correlation with its driver %.3f, with the other %.3f\n", square,
                Correlation(seen, own), Correlation(seen, other));
    EXPECT_GT(Correlation(seen, own), 0.9) << "square " << square;
    EXPECT_LT(std::abs(Correlation(seen, other)), 0.5) << "square " << square;
  }
}

}  // namespace
}  // namespace reenact
