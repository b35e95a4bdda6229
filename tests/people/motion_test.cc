#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <vector>

#include "training/people/people.h"

namespace reenact {
namespace {

constexpr double kFps = 25;

// What speeds below are taken of.
struct Channel {
  const char* name;
  float (*value)(const FaceState&);
  float low, high;
  float max_speed;  // per second
};

// A blink closes in about 0.05 s and a saccade takes as long; everything else is slower.
const Channel kChannels[] = {
    {"yaw", [](const FaceState& s) { return s.pose.yaw; }, -35, 35, 120},
    {"pitch", [](const FaceState& s) { return s.pose.pitch; }, -20, 20, 120},
    {"roll", [](const FaceState& s) { return s.pose.roll; }, -15, 15, 40},
    {"jaw_drop", [](const FaceState& s) { return s.expression.jaw_drop; }, 0, 1, 14},
    {"smile", [](const FaceState& s) { return s.expression.smile; }, -1, 1, 8},
    {"pucker", [](const FaceState& s) { return s.expression.pucker; }, 0, 1, 14},
    {"mouth_shift", [](const FaceState& s) { return s.expression.mouth_shift; }, -1, 1, 4},
    {"upper_lip_raise", [](const FaceState& s) { return s.expression.upper_lip_raise; }, 0, 1, 14},
    {"lower_lip_drop", [](const FaceState& s) { return s.expression.lower_lip_drop; }, 0, 1, 14},
    {"eye_close_left", [](const FaceState& s) { return s.expression.eye_close_left; }, 0, 1, 35},
    {"eye_close_right", [](const FaceState& s) { return s.expression.eye_close_right; }, 0, 1, 35},
    {"eyes_wide", [](const FaceState& s) { return s.expression.eyes_wide; }, 0, 1, 35},
    {"brow_inner", [](const FaceState& s) { return s.expression.brow_inner; }, -1, 1, 20},
    {"brow_outer", [](const FaceState& s) { return s.expression.brow_outer; }, -1, 1, 20},
    {"gaze_x", [](const FaceState& s) { return s.expression.gaze_x; }, -1, 1, 60},
    {"gaze_y", [](const FaceState& s) { return s.expression.gaze_y; }, -1, 1, 60},
    {"cheek_raise", [](const FaceState& s) { return s.expression.cheek_raise; }, 0, 1, 8},
    {"shift_x", [](const FaceState& s) { return s.view.shift_x; }, -0.13f, 0.13f, 0.2f},
    {"shift_y", [](const FaceState& s) { return s.view.shift_y; }, -0.13f, 0.13f, 0.2f},
    {"scale", [](const FaceState& s) { return s.view.scale; }, 0.85f, 1.15f, 0.3f},
};

void ExpectSmoothAndInRange(const std::vector<FaceState>& states, double fps) {
  for (const Channel& channel : kChannels) {
    SCOPED_TRACE(channel.name);
    float before = channel.value(states.front());
    for (const FaceState& state : states) {
      const float value = channel.value(state);
      ASSERT_GE(value, channel.low);
      ASSERT_LE(value, channel.high);
      ASSERT_LE(std::abs(value - before) * fps, channel.max_speed);
      before = value;
    }
  }
}

TEST(MotionTest, ClipsAreSmoothAndInRange) {
  // Speeds are only seen at a high frame rate: at 25 a second a blink is two or three frames.
  for (uint64_t seed = 0; seed < 40; ++seed) {
    SCOPED_TRACE(seed);
    ExpectSmoothAndInRange(MakeClip(seed, 2000, 200), 200);
  }
}

TEST(MotionTest, SameSeedSameClipAndLongerClipsBeginWithShorterOnes) {
  const std::vector<FaceState> once = MakeClip(5, 100, kFps), again = MakeClip(5, 100, kFps),
                               longer = MakeClip(5, 200, kFps), other = MakeClip(6, 100, kFps);
  EXPECT_EQ(std::memcmp(once.data(), again.data(), once.size() * sizeof(FaceState)), 0);
  EXPECT_EQ(std::memcmp(once.data(), longer.data(), once.size() * sizeof(FaceState)), 0);
  EXPECT_NE(std::memcmp(once.data(), other.data(), once.size() * sizeof(FaceState)), 0);
}

TEST(MotionTest, FrameRateChangesOnlyTheSampling) {
  const std::vector<FaceState> slow = MakeClip(9, 20, 25), fast = MakeClip(9, 40, 50);
  for (size_t i = 0; i < slow.size(); ++i) {
    EXPECT_FLOAT_EQ(slow[i].pose.yaw, fast[2 * i].pose.yaw);
    EXPECT_FLOAT_EQ(slow[i].expression.jaw_drop, fast[2 * i].expression.jaw_drop);
  }
}

TEST(MotionTest, PeopleBlinkAFewTimesAMinute) {
  constexpr double kHighFps = 200, kSeconds = 60;
  int blinks = 0, clips = 0;
  for (uint64_t seed = 0; seed < 20; ++seed, ++clips) {
    bool closed = false;
    int closed_frames = 0;
    for (const FaceState& state : MakeClip(seed, static_cast<int>(kSeconds * kHighFps), kHighFps)) {
      const bool now = state.expression.eye_close_left > 0.9f;
      closed_frames += now;
      blinks += now && !closed;
      closed = now;
    }
    EXPECT_LT(closed_frames / (kSeconds * kHighFps), 0.25) << seed;
  }
  // Every 2 to 5 s, so about 17 a minute.
  EXPECT_NEAR(blinks / double(clips), 17, 3);
}

TEST(MotionTest, ClipsUseTheWholeRange) {
  float widest_mouth = 0, most_left = 0, most_right = 0, broadest_smile = 0;
  double closed_mouth = 0, frames = 0;
  for (uint64_t seed = 0; seed < 60; ++seed) {
    for (const FaceState& state : MakeClip(seed, 250, kFps)) {
      widest_mouth = std::max(widest_mouth, state.expression.jaw_drop);
      broadest_smile = std::max(broadest_smile, state.expression.smile);
      most_left = std::min(most_left, state.pose.yaw);
      most_right = std::max(most_right, state.pose.yaw);
      closed_mouth += state.expression.jaw_drop < 0.03f;
      ++frames;
    }
  }
  EXPECT_GT(widest_mouth, 0.9f);
  EXPECT_GT(broadest_smile, 0.8f);
  EXPECT_LT(most_left, -28);
  EXPECT_GT(most_right, 28);
  EXPECT_GT(closed_mouth / frames, 0.2);
  EXPECT_LT(closed_mouth / frames, 0.7);
}

TEST(MotionTest, SpeechMovesTheMouthAtSpeechRate) {
  // Crossings of the mean upwards while the mouth moves: syllables a second.
  double crossings = 0, talking = 0;
  for (uint64_t seed = 0; seed < 30; ++seed) {
    const std::vector<FaceState> states = MakeClip(seed, 1000, 50);
    for (size_t i = 25; i + 25 < states.size(); ++i) {
      float mean = 0;
      for (size_t k = i - 25; k < i + 25; ++k) mean += states[k].expression.jaw_drop / 50;
      if (mean < 0.08f || mean > 0.4f) continue;
      talking += 1.0 / 50;
      crossings +=
          states[i - 1].expression.jaw_drop < mean && states[i].expression.jaw_drop >= mean;
    }
  }
  ASSERT_GT(talking, 60);
  EXPECT_GT(crossings / talking, 1.5);
  EXPECT_LT(crossings / talking, 5);
}

TEST(MotionTest, DemoShowsEveryMotion) {
  const std::vector<FaceState> demo = DemoMotion(2000, 200);
  ExpectSmoothAndInRange(demo, 200);
  const auto reaches = [&](float (*value)(const FaceState&), float target) {
    return std::any_of(demo.begin(), demo.end(), [&](const FaceState& s) {
      return target > 0 ? value(s) >= target : value(s) <= target;
    });
  };
  EXPECT_TRUE(reaches([](const FaceState& s) { return s.pose.yaw; }, -25));
  EXPECT_TRUE(reaches([](const FaceState& s) { return s.pose.yaw; }, 25));
  EXPECT_TRUE(reaches([](const FaceState& s) { return s.pose.pitch; }, 10));
  EXPECT_TRUE(reaches([](const FaceState& s) { return s.expression.jaw_drop; }, 0.95f));
  EXPECT_TRUE(reaches([](const FaceState& s) { return s.expression.smile; }, 0.95f));
  EXPECT_TRUE(reaches([](const FaceState& s) { return s.expression.eye_close_left; }, 0.98f));
}

TEST(MotionTest, DemoLoopsWithoutAJump) {
  const std::vector<FaceState> demo = DemoMotion(501, 25);
  ExpectSmoothAndInRange(demo, 25);
  EXPECT_FLOAT_EQ(demo[0].pose.yaw, demo[250].pose.yaw);
  EXPECT_FLOAT_EQ(demo[100].expression.jaw_drop, demo[350].expression.jaw_drop);
}

}  // namespace
}  // namespace reenact
