#include "pipeline/face/motion_smoothing.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <limits>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "pipeline/face/motion_regions.h"
#include "pipeline/face/one_euro.h"
#include "tests/pipeline/face/motion_testing.h"
#include "tests/support/paths.h"
#include "tests/support/safetensors_lite.h"
#include "training/people/people.h"
#include "training/people/random.h"

namespace reenact {
namespace {

using testing::ExactLandmarks;
using testing::EyeDistance;
using testing::MaxDifference;
using testing::With;

// Mean length of the second difference of all landmarks in the picture around frame `i`, in
// percent of the eyes' distance.
double SecondDifference(const std::vector<Landmarks>& clip, size_t i) {
  double sum = 0;
  for (size_t k = 0; k < kNumLandmarks; ++k) {
    const Point3 &a = clip[i - 1][k], &b = clip[i][k], &c = clip[i + 1][k];
    sum += std::hypot(a.x - 2 * b.x + c.x, a.y - 2 * b.y + c.y);
  }
  return 100 * sum / kNumLandmarks / EyeDistance(clip[i]);
}

double Jitter(const std::vector<Landmarks>& clip, size_t first, size_t last) {
  double sum = 0;
  for (size_t i = first; i < last; ++i) sum += SecondDifference(clip, i);
  return sum / static_cast<double>(last - first);
}

// Trembles as the landmark network does on real footage of people who sit still, times `factor`
// (second differences there: rotation 0.2 degrees, place 0.013 cm, size 0.1 %, skin 0.014 cm, lids,
// lips and irises 0.02 to 0.03 cm; of independent noise they are 3 times its deviation in a plane).
Landmarks Trembling(const Landmarks& face, double factor, Random& random) {
  const auto noise = [&](double deviation) { return random.Normal() * deviation * factor; };
  HeadPose pose = *FitHeadPose(face);
  HeadShape shape = ToHead(face, pose);
  const MotionRegions& regions = MotionRegions::Get();
  for (size_t i = 0; i < shape.size(); ++i) {
    const bool feature = i >= MotionRegions::kIrises || regions.lids[0][i] > 0.5 ||
                         regions.lids[1][i] > 0.5 || regions.jaw[i] > 0.5;
    const double deviation = feature ? 0.008 : 0.0044;
    shape[i] += {noise(deviation), noise(deviation), noise(deviation)};
  }
  pose.rotation = pose.rotation * RotationOf({noise(0.065), noise(0.065), noise(0.03)});
  pose.translation += Vector3{noise(0.0043), noise(0.0043), 0} * pose.scale;
  pose.scale *= std::exp(noise(0.0005));
  return ToPicture(shape, pose);
}

struct Channel {
  const char* name;
  FaceState (*state)(float amount);  // 0 at rest, 1 after the step
  double (*value)(const Landmarks& face);
  double max_lag_ms;
};

HeadShape ShapeOf(const Landmarks& face) { return ToHead(face, *FitHeadPose(face)); }

const Channel kChannels[] = {
    {"yaw by 10 degrees", [](float a) { return With(Pose{.yaw = 10 * a}); },
     [](const Landmarks& f) { return AnglesOf(FitHeadPose(f)->rotation).yaw; }, 10},
    {"yaw by 3 degrees", [](float a) { return With(Pose{.yaw = 3 * a}); },
     [](const Landmarks& f) { return AnglesOf(FitHeadPose(f)->rotation).yaw; }, 18},
    {"place by 2 % of the picture", [](float a) { return With(View{.shift_x = 0.02f * a}); },
     [](const Landmarks& f) { return FitHeadPose(f)->translation.x; }, 18},
    {"size by 5 %", [](float a) { return With(View{.scale = 1 + 0.05f * a}); },
     [](const Landmarks& f) { return FitHeadPose(f)->scale; }, 15},
    {"blink", [](float a) { return With(Expression{.eye_close_left = a, .eye_close_right = a}); },
     [](const Landmarks& f) { return EyeOpening(ShapeOf(f), 0); }, 15},
    {"mouth wide open", [](float a) { return With(Expression{.jaw_drop = 0.8f * a}); },
     [](const Landmarks& f) { return MouthOpening(ShapeOf(f)); }, 10},
    {"mouth slightly open", [](float a) { return With(Expression{.jaw_drop = 0.1f * a}); },
     [](const Landmarks& f) { return MouthOpening(ShapeOf(f)); }, 20},
    {"gaze", [](float a) { return With(Expression{.gaze_x = 0.6f * a}); },
     [](const Landmarks& f) { return ShapeOf(f)[468].x; }, 18},
    {"brows",
     [](float a) { return With(Expression{.brow_inner = 0.8f * a, .brow_outer = 0.8f * a}); },
     [](const Landmarks& f) { return ShapeOf(f)[105].y; }, 22},
};

// When a step gets half way, in frames.
double HalfWay(const std::vector<double>& values) {
  const double half = (values.front() + values.back()) / 2;
  for (size_t i = 1; i < values.size(); ++i) {
    const double a = values[i - 1], b = values[i];
    if (a != b && (a - half) * (b - half) <= 0) {
      return static_cast<double>(i - 1) + (half - a) / (b - a);
    }
  }
  return 1e9;
}

// A step of 0.1 s.
struct Step {
  std::vector<Landmarks> clip;
  std::vector<double> seconds;
};

Step MakeStep(const Channel& channel, const PersonRenderer& person, double fps) {
  Step step;
  for (int i = 0; i < 3 * static_cast<int>(fps); ++i) {
    const double t = i / fps;
    step.seconds.push_back(t);
    step.clip.push_back(ExactLandmarks(
        person, channel.state(static_cast<float>(std::clamp((t - 0.7) / 0.1, 0.0, 1.0)))));
  }
  return step;
}

double LagMs(const Channel& channel, const Step& step, const std::vector<Landmarks>& out) {
  std::vector<double> before, after;
  for (size_t i = 0; i < step.clip.size(); ++i) {
    before.push_back(channel.value(step.clip[i]));
    after.push_back(channel.value(out[i]));
  }
  after.back() = before.back();  // half way to where it goes, not to where it has got
  return (HalfWay(after) - HalfWay(before)) * 1000 * step.seconds[1];
}

std::vector<Landmarks> Smoothed(const std::vector<Landmarks>& clip,
                                const std::vector<double>& seconds,
                                const SmoothingOptions& options = {}) {
  LandmarkSmoother smoother(options);
  std::vector<Landmarks> out;
  for (size_t i = 0; i < clip.size(); ++i) out.push_back(smoother.Smooth(clip[i], seconds[i]));
  return out;
}

TEST(OneEuroTest, FollowsThePaper) {
  // The paper's equations, evaluated by hand for two samples.
  const OneEuroOptions options{.min_cutoff = 1, .beta = 0.5, .derivative_cutoff = 1};
  const double dt = 0.1, pi = 3.14159265358979;
  const double derivative_alpha = 1 / (1 + 1 / (2 * pi * 1) / dt);
  const double derivative = derivative_alpha * (3 - 1) / dt;
  const double alpha = 1 / (1 + 1 / (2 * pi * (1 + 0.5 * derivative)) / dt);
  OneEuro<1> filter;

  EXPECT_EQ(filter.Filter({1}, 0, options)[0], 1);
  EXPECT_NEAR(filter.Filter({3}, dt, options)[0], alpha * 3 + (1 - alpha) * 1, 1e-12);
}

TEST(OneEuroTest, UnitsOfLengthDoNotMatter) {
  const OneEuroOptions options{.min_cutoff = 1, .beta = 0.5, .derivative_cutoff = 1};
  OneEuro<2> small, large;
  Random random(1);
  for (int i = 0; i < 50; ++i) {
    const double x = random.Uniform(), y = random.Uniform();
    const auto a = small.Filter({x, y}, 0.04, options),
               b = large.Filter({8 * x, 8 * y}, 0.04, options, 8);
    EXPECT_NEAR(8 * a[0], b[0], 1e-12);
    EXPECT_NEAR(8 * a[1], b[1], 1e-12);
  }
}

TEST(OneEuroTest, ConstantsPassAndResetForgets) {
  OneEuro<1> filter;
  for (int i = 0; i < 5; ++i) EXPECT_EQ(filter.Filter({4}, 0.04, {})[0], 4);
  filter.Reset();
  EXPECT_EQ(filter.Filter({-7}, 0.04, {})[0], -7);
}

TEST(LandmarkSmootherTest, StillFacesTrembleLessAndStepsDoNotLag) {
  const PersonRenderer person(MakePerson(7));
  for (const double fps : {15.0, 30.0, 60.0}) {
    Random random(1);
    const Landmarks face = ExactLandmarks(person, FaceState{});
    std::vector<Landmarks> still;
    std::vector<double> seconds;
    for (int i = 0; i < 150; ++i) {
      still.push_back(Trembling(face, 1.5, random));
      seconds.push_back(i / fps);
    }
    const double before = Jitter(still, 30, 149), after = Jitter(Smoothed(still, seconds), 30, 149),
                 clip = Jitter(SmoothClip(still, seconds), 30, 149);

    std::printf(
        "%.0f frames a second: jitter %.3f %% of the eyes' distance, smoothed %.3f (%.2f), "
        "as a clip %.3f\n",
        fps, before, after, after / before, clip);
    EXPECT_LT(after, (fps < 20 ? 0.4 : 0.25) * before);
    EXPECT_LT(clip, 1.02 * after);
    for (const Channel& channel : kChannels) {
      const Step step = MakeStep(channel, person, fps);
      const double lag = LagMs(channel, step, Smoothed(step.clip, step.seconds)),
                   clip_lag = LagMs(channel, step, SmoothClip(step.clip, step.seconds));
      std::printf("  %s: lag %.1f ms, as a clip %.1f\n", channel.name, lag, clip_lag);
      EXPECT_LT(lag, channel.max_lag_ms * (fps < 20 ? 1.5 : 1)) << channel.name;
      EXPECT_LT(std::abs(clip_lag), 3) << channel.name;
    }
  }
}

TEST(LandmarkSmootherTest, BlinksStayWhole) {
  const PersonRenderer person(MakePerson(7));
  std::vector<Landmarks> clip;
  std::vector<double> seconds;
  for (int i = 0; i < 40; ++i) {
    // 0.2 s from open to open at 25 frames a second.
    const float close = std::max(0.0f, 1 - std::abs(static_cast<float>(i) - 20) / 2.5f);
    clip.push_back(ExactLandmarks(
        person, With(Expression{.eye_close_left = close, .eye_close_right = close})));
    seconds.push_back(i / 25.0);
  }
  const auto narrowest = [](const std::vector<Landmarks>& frames) {
    double least = 1;
    for (const Landmarks& frame : frames) least = std::min(least, EyeOpening(ShapeOf(frame), 0));
    return least;
  };
  const double open = EyeOpening(ShapeOf(clip[0]), 0);

  EXPECT_LT(narrowest(clip), 0.05 * open);
  EXPECT_LT(narrowest(Smoothed(clip, seconds)), 0.15 * open);
  EXPECT_LT(narrowest(SmoothClip(clip, seconds)), 0.2 * open);
}

TEST(LandmarkSmootherTest, RealFootageTremblesLess) {
  const std::string path = testing::GoldenDir() + "/face/facemesh_attention.safetensors";
  if (testing::GoldenDir().empty() || testing::ReadFile(path).empty()) {
    if (testing::MustHaveData()) FAIL() << "the golden landmarks are not there";
    GTEST_SKIP() << "the golden landmarks are not there";
  }
  const testing::SafetensorsLite golden(path);
  const std::vector<float> numbers = golden.Floats("tracked.landmarks");
  std::vector<Landmarks> clip(numbers.size() / 3 / kNumLandmarks);  // of a square video
  std::vector<double> seconds;
  for (size_t i = 0; i < clip.size(); ++i) {
    for (size_t k = 0; k < kNumLandmarks; ++k) {
      const float* p = &numbers[(i * kNumLandmarks + k) * 3];
      clip[i][k] = {p[0], p[1], p[2]};
    }
    seconds.push_back(static_cast<double>(i) / 30);
  }
  ASSERT_GT(clip.size(), 100u);
  // The quietest fifth of the frames is at rest.
  std::vector<std::pair<double, size_t>> frames;
  for (size_t i = 5; i + 1 < clip.size(); ++i) frames.push_back({SecondDifference(clip, i), i});
  std::sort(frames.begin(), frames.end());
  frames.resize(frames.size() / 5);

  const std::vector<Landmarks> out = Smoothed(clip, seconds), whole = SmoothClip(clip, seconds);

  double before = 0, after = 0, as_clip = 0, moved = 0;
  for (const auto& [jitter, i] : frames) {
    before += jitter / static_cast<double>(frames.size());
    after += SecondDifference(out, i) / static_cast<double>(frames.size());
    as_clip += SecondDifference(whole, i) / static_cast<double>(frames.size());
  }
  for (size_t i = 0; i < clip.size(); ++i) {
    for (size_t k = 0; k < kNumLandmarks; ++k) {
      moved += 100 * std::hypot(out[i][k].x - clip[i][k].x, out[i][k].y - clip[i][k].y) /
               EyeDistance(clip[i]) / kNumLandmarks / static_cast<double>(clip.size());
    }
  }
  std::printf(
      "real footage at rest: jitter %.3f %% of the eyes' distance, smoothed %.3f (%.2f), as a "
      "clip %.3f (%.2f); frames move by %.2f %%\n",
      before, after, after / before, as_clip, as_clip / before, moved);
  EXPECT_LT(after, 0.5 * before);
  EXPECT_LT(as_clip, 0.5 * before);
  EXPECT_LT(moved, 0.6);
}

TEST(LandmarkSmootherTest, UnevenTimesCountAsTheyAre) {
  // A head that turns evenly, sampled unevenly: what comes out lags by about the same time.
  const PersonRenderer person(MakePerson(7));
  Random random(3);
  LandmarkSmoother smoother;
  double t = 0, least = 1e9, most = -1e9;
  for (int i = 0; i < 120; ++i) {
    t += random.Uniform(0.01f, 0.08f);
    FaceState state;
    state.pose.yaw = static_cast<float>(-30 + 10 * t);
    const Landmarks face = ExactLandmarks(person, state), out = smoother.Smooth(face, t);
    if (t < 1) continue;
    const auto yaw = [](const Landmarks& f) { return AnglesOf(FitHeadPose(f)->rotation).yaw; };
    const double lag = (yaw(face) - yaw(out)) / 10;
    least = std::min(least, lag);
    most = std::max(most, lag);
  }
  EXPECT_GT(least, -0.005);  // s
  EXPECT_LT(most, 0.05);
}

TEST(LandmarkSmootherTest, StartsAnewAfterCutsGapsAndLostFaces) {
  const PersonRenderer one(MakePerson(1)), other(MakePerson(2));
  const Landmarks face = ExactLandmarks(one, FaceState{});
  FaceState moved, turned, larger;
  moved.view.shift_x = 0.4f;
  turned.pose.yaw = 60;
  larger.view.scale = 1.8f;
  const Landmarks after = ExactLandmarks(one, With(Expression{.jaw_drop = 0.1f}));
  const auto started = [&] {
    LandmarkSmoother smoother;
    for (int i = 0; i < 10; ++i) smoother.Smooth(face, i / 25.0);
    return smoother;
  };

  EXPECT_GT(MaxDifference(started().Smooth(after, 10 / 25.0), after), 1e-4);  // smoothed
  EXPECT_EQ(MaxDifference(started().Smooth(after, 2), after), 0);             // a gap
  EXPECT_EQ(MaxDifference(started().Smooth(after, 9 / 25.0), after), 0);      // time stands still
  EXPECT_EQ(MaxDifference(started().Smooth(after, -1), after), 0);            // time goes back
  EXPECT_EQ(MaxDifference(started().Smooth(after, std::numeric_limits<double>::quiet_NaN()), after),
            0);
  for (const FaceState& state : {moved, turned, larger}) {  // cuts
    const Landmarks cut = ExactLandmarks(other, state);
    EXPECT_EQ(MaxDifference(started().Smooth(cut, 10 / 25.0), cut), 0);
  }
  LandmarkSmoother reset = started();
  reset.Reset();
  EXPECT_EQ(MaxDifference(reset.Smooth(after, 10 / 25.0), after), 0);
  LandmarkSmoother lost = started();
  EXPECT_EQ(MaxDifference(lost.Smooth(Landmarks{}, 10 / 25.0), Landmarks{}), 0);
  EXPECT_EQ(MaxDifference(lost.Smooth(after, 11 / 25.0), after), 0);
}

TEST(LandmarkSmootherTest, ClipsStartAnewWhereStreamsDo) {
  const Landmarks a = ExactLandmarks(PersonRenderer(MakePerson(1)), FaceState{}),
                  b = ExactLandmarks(PersonRenderer(MakePerson(2)), With(View{.shift_x = 0.3f}));
  const std::vector<Landmarks> clip = {a, a, a, b, b, Landmarks{}, b, a};
  std::vector<double> seconds;
  for (size_t i = 0; i < clip.size(); ++i) seconds.push_back(static_cast<double>(i) / 25);

  const std::vector<Landmarks> out = SmoothClip(clip, seconds);

  ASSERT_EQ(out.size(), clip.size());
  for (size_t i = 0; i < clip.size(); ++i) EXPECT_LT(MaxDifference(out[i], clip[i]), 1e-6) << i;
  EXPECT_TRUE(SmoothClip({}, {}).empty());
}

TEST(LandmarkSmootherTest, StrengthGoesFromNothingToMore) {
  const Landmarks face = ExactLandmarks(PersonRenderer(MakePerson(7)), FaceState{});
  Random random(2);
  std::vector<Landmarks> clip;
  std::vector<double> seconds;
  for (int i = 0; i < 100; ++i) {
    clip.push_back(Trembling(face, 1, random));
    seconds.push_back(i / 25.0);
  }
  double last = 1e9;
  for (const double strength : {0.0, 0.25, 1.0, 4.0}) {
    const double jitter = Jitter(Smoothed(clip, seconds, {.strength = strength}), 30, 99);
    EXPECT_LT(jitter, last) << strength;
    last = jitter;
  }
  const std::vector<Landmarks> same = SmoothClip(clip, seconds, {.strength = 0});
  for (size_t i = 0; i < clip.size(); ++i) {
    EXPECT_EQ(MaxDifference(Smoothed(clip, seconds, {.strength = 0})[i], clip[i]), 0);
    EXPECT_EQ(MaxDifference(same[i], clip[i]), 0);
    if (i > 3) break;
  }
}

TEST(SmoothingOptionsTest, MessagesNameFieldValueAndRange) {
  EXPECT_TRUE(CheckSmoothingOptions({}).ok());
  EXPECT_TRUE(CheckSmoothingOptions({.strength = 0}).ok());
  EXPECT_TRUE(CheckSmoothingOptions({.strength = 4}).ok());
  const absl::Status status = CheckSmoothingOptions({.strength = 5});
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(status.message(), "smoothing must be 0..4, is 5");
  EXPECT_FALSE(CheckSmoothingOptions({.strength = std::numeric_limits<double>::quiet_NaN()}).ok());
}

}  // namespace
}  // namespace reenact
