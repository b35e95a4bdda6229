#include <algorithm>
#include <cmath>
#include <cstddef>
#include <vector>

#include "training/people/people.h"
#include "training/people/random.h"
#include "training/people/vec3.h"

namespace reenact {
namespace {

// A value over time that rests at keys and moves smoothly from one to the next.
class Track {
 public:
  explicit Track(float start) : keys_{{-1e9f, start}} {}

  // At `time` (not before the last key) the value is `value`.
  void Key(float time, float value) { keys_.push_back({time, value}); }

  // Holds the last value until `time`, then takes `duration` to reach `value`. Returns when it is
  // there.
  float MoveTo(float time, float duration, float value) {
    Key(time, keys_.back().value);
    Key(time + duration, value);
    return time + duration;
  }

  float At(float time) const {
    const auto after = std::upper_bound(keys_.begin(), keys_.end(), time,
                                        [](float t, const Point& key) { return t < key.time; });
    if (after == keys_.begin()) return keys_.front().value;
    if (after == keys_.end()) return keys_.back().value;
    const Point &a = *std::prev(after), &b = *after;
    return a.value + (b.value - a.value) * Smoothstep(a.time, b.time, time);
  }

 private:
  struct Point {
    float time, value;
  };
  std::vector<Point> keys_;
};

// Smooth noise of variance about 1/2 in a band of frequencies; within [-1.8, 1.8].
class Wobble {
 public:
  Wobble(Random& random, float low_hz, float high_hz) {
    float sum = 0;
    for (Wave& wave : waves_) {
      wave = {random.Uniform(0.6f, 1), random.Uniform(low_hz, high_hz) * 2 * kPi,
              random.Uniform(0, 2 * kPi)};
      sum += wave.amplitude * wave.amplitude;
    }
    for (Wave& wave : waves_) wave.amplitude /= std::sqrt(sum);
  }

  float At(float time) const {
    float value = 0;
    for (const Wave& wave : waves_)
      value += wave.amplitude * std::sin(wave.speed * time + wave.phase);
    return value;
  }

 private:
  struct Wave {
    float amplitude = 0, speed = 0, phase = 0;
  };
  std::array<Wave, 4> waves_;
};

float Unit(float value) { return std::clamp(value, 0.0f, 1.0f); }
float SignedUnit(float value) { return std::clamp(value, -1.0f, 1.0f); }

// Independent random sequences of one clip, so that a longer clip begins with the shorter one.
enum Stream : uint64_t {
  kViewStream = 101,
  kSpeechStream,
  kBlinkStream,
  kGazeStream,
  kSmileStream,
  kBrowStream,
  kHeadStream,
  kMouthStream,
};

// Tracks begin before the clip does, so that clips do not all begin at rest.
constexpr float kLeadIn = 6;

// 0 in pauses, 1 in phrases.
Track Speech(uint64_t seed, float end) {
  Random random(seed, kSpeechStream);
  Track track(0);
  if (random.Chance(0.15f)) return track;  // a silent clip
  for (float time = -kLeadIn; time < end;) {
    time = track.MoveTo(time + random.Uniform(0.3f, 1.4f), 0.15f, 1);
    time = track.MoveTo(time + random.Uniform(0.8f, 3), 0.2f, 0);
  }
  return track;
}

// Moments of a wide open mouth.
Track Exclamations(uint64_t seed, float end) {
  Random random(seed, kMouthStream);
  Track track(0);
  for (float time = -kLeadIn; time < end;) {
    const float start = time + random.Uniform(1, 9), rise = random.Uniform(0.2f, 0.45f),
                height = random.Uniform(0.6f, 1);
    const float hold = random.Uniform(0.1f, 0.5f), fall = random.Uniform(0.25f, 0.5f);
    time = track.MoveTo(track.MoveTo(start, rise, height) + hold, fall, 0);
  }
  return track;
}

// 0.15 to 0.3 s every 2 to 5 s; now and then the eyes stay closed for a moment.
Track Blinks(uint64_t seed, float end) {
  Random random(seed, kBlinkStream);
  Track track(0);
  const bool rests_eyes = random.Chance(0.2f);
  for (float time = -kLeadIn; time < end;) {
    const float duration = random.Uniform(0.15f, 0.3f);
    const float hold =
        rests_eyes && random.Chance(0.4f) ? random.Uniform(0.4f, 1) : 0.15f * duration;
    time = track.MoveTo(time + random.Uniform(2, 5), 0.35f * duration, 1);
    time = track.MoveTo(time + hold, 0.5f * duration, 0);
  }
  return track;
}

struct Gaze {
  Track x{0}, y{0};
};

Gaze Saccades(uint64_t seed, float end) {
  Random random(seed, kGazeStream);
  Gaze gaze;
  for (float time = -kLeadIn; time < end;) {
    time += random.Uniform(0.3f, 2);
    const bool at_camera = random.Chance(0.4f);
    const float x = at_camera ? 0 : random.ClippedNormal(0.55f, 1);
    const float y = at_camera ? 0 : random.ClippedNormal(0.45f, 1);
    const float duration = random.Uniform(0.05f, 0.09f);
    gaze.x.MoveTo(time, duration, x);
    gaze.y.MoveTo(time, duration, y);
    time += duration;
  }
  return gaze;
}

// Wanders between random values in [low, high], at `rest` for part of the time.
Track Moods(Random random, float end, float low, float high, float rest, float chance_of_rest) {
  const auto value = [&] {
    return random.Chance(chance_of_rest) ? rest : random.Uniform(low, high);
  };
  Track track(value());
  for (float time = -kLeadIn; time < end;) {
    const float start = time + random.Uniform(0.6f, 3.5f), duration = random.Uniform(0.35f, 0.9f);
    time = track.MoveTo(start, duration, value());
  }
  return track;
}

struct ClipView {
  View view;
  Pose pose;  // that the head moves about
};

ClipView RandomView(uint64_t seed) {
  Random random(seed, kViewStream);
  ClipView clip;
  clip.pose = {random.ClippedNormal(12, 28), random.ClippedNormal(6, 14),
               random.ClippedNormal(4, 10)};
  clip.view = {random.ClippedNormal(0.03f, 0.07f), random.ClippedNormal(0.02f, 0.05f),
               random.Uniform(0.85f, 1.15f)};
  return clip;
}

}  // namespace

std::vector<FaceState> MakeClip(uint64_t seed, int num_frames, double fps) {
  const float end = static_cast<float>(num_frames / fps) + 1;
  const ClipView clip = RandomView(seed);
  const Track speech = Speech(seed, end), exclamations = Exclamations(seed, end),
              blinks = Blinks(seed, end);
  const Gaze gaze = Saccades(seed, end);
  const Track smile = Moods(Random(seed, kSmileStream), end, -0.6f, 1, 0, 0.35f);
  Random brow_random(seed, kBrowStream);
  const Track brow_outer = Moods(Random(brow_random.Next()), end, -0.7f, 1, 0, 0.4f);
  const Track brow_inner = Moods(Random(brow_random.Next()), end, -0.8f, 0.9f, 0, 0.4f);
  const Track surprise = Moods(Random(brow_random.Next()), end, 0, 1, 0, 0.7f);

  Random mouth(seed, kMouthStream + 100);
  const Wobble syllables(mouth, 2, 5), vowels(mouth, 1, 2.6f), loudness(mouth, 0.1f, 0.5f),
      lips(mouth, 1.5f, 4), skew(mouth, 0.15f, 0.6f);
  const float gain = mouth.Uniform(0.8f, 1.15f), skewness = mouth.Uniform(0, 0.55f);

  Random head(seed, kHeadStream);
  const Wobble yaw(head, 0.06f, 0.35f), pitch(head, 0.08f, 0.4f), roll(head, 0.06f, 0.3f),
      nods(head, 1, 2.2f), drift_x(head, 0.05f, 0.25f), drift_y(head, 0.05f, 0.25f);
  const float sway = head.Uniform(0.15f, 1);

  std::vector<FaceState> states(static_cast<size_t>(num_frames));
  for (size_t i = 0; i < states.size(); ++i) {
    const float t = static_cast<float>(static_cast<double>(i) / fps);
    const float talking = speech.At(t), open = exclamations.At(t), eyes_closed = blinks.At(t);
    FaceState& state = states[i];
    Expression& e = state.expression;

    const float syllable = 0.28f + 0.25f * syllables.At(t) + 0.22f * loudness.At(t);
    e.jaw_drop = Unit(gain * std::max(talking * std::max(syllable, 0.0f), open));
    e.pucker = Unit(gain * talking * (0.45f * vowels.At(t) - 0.05f)) * (1 - 0.5f * open);
    e.upper_lip_raise = Unit(gain * talking * (0.12f + 0.3f * lips.At(t)));
    e.lower_lip_drop = Unit(gain * talking * (0.15f - 0.3f * lips.At(t)));
    e.smile = SignedUnit(smile.At(t) * (1 - 0.6f * e.pucker));
    e.mouth_shift = SignedUnit(skewness * skew.At(t));
    e.cheek_raise = Unit(0.9f * e.smile);
    e.eye_close_left = e.eye_close_right = Unit(eyes_closed + 0.18f * std::max(e.smile, 0.0f));
    e.eyes_wide = surprise.At(t) * (1 - eyes_closed);
    e.brow_outer = SignedUnit(brow_outer.At(t) + 0.5f * e.eyes_wide);
    e.brow_inner = SignedUnit(brow_inner.At(t) + 0.4f * e.eyes_wide);
    e.gaze_x = gaze.x.At(t);
    e.gaze_y = gaze.y.At(t);

    state.pose.yaw = std::clamp(
        clip.pose.yaw + 13 * sway * yaw.At(t) + 1.5f * talking * nods.At(t + 5), -35.0f, 35.0f);
    state.pose.pitch = std::clamp(
        clip.pose.pitch + 7 * sway * pitch.At(t) + 2 * talking * nods.At(t), -20.0f, 20.0f);
    state.pose.roll = std::clamp(clip.pose.roll + 5 * sway * roll.At(t), -15.0f, 15.0f);
    state.view = clip.view;
    state.view.shift_x += 0.015f * sway * drift_x.At(t);
    state.view.shift_y += 0.012f * sway * drift_y.At(t);
  }
  return states;
}

std::vector<FaceState> DemoMotion(int num_frames, double fps) {
  constexpr float kDuration = 10;
  Track yaw(0), pitch(0), roll(0), jaw(0), smile(0.15f), blink(0), brows(0), gaze_x(0);
  // Looks left, then right, eyes first.
  gaze_x.MoveTo(0.4f, 0.1f, -0.7f);
  gaze_x.MoveTo(1.2f, 0.4f, 0);
  gaze_x.MoveTo(1.7f, 0.1f, 0.8f);
  gaze_x.MoveTo(2.7f, 0.4f, 0);
  yaw.MoveTo(0.5f, 0.8f, -28);
  yaw.MoveTo(1.7f, 1.1f, 28);
  yaw.MoveTo(3.2f, 0.8f, 0);
  roll.MoveTo(0.5f, 0.8f, 5);
  roll.MoveTo(1.7f, 1.1f, -5);
  roll.MoveTo(3.2f, 0.8f, 0);
  // Opens the mouth wide.
  jaw.MoveTo(4.0f, 0.5f, 1);
  jaw.MoveTo(4.9f, 0.4f, 0);
  brows.MoveTo(4.0f, 0.5f, 0.9f);
  brows.MoveTo(4.9f, 0.5f, 0);
  // Smiles.
  smile.MoveTo(5.4f, 0.5f, 1);
  smile.MoveTo(7.0f, 0.5f, 0.15f);
  // Says something.
  for (float time = 7.9f; time < 9.4f; time += 0.36f) {
    jaw.MoveTo(time, 0.16f, 0.42f);
    jaw.MoveTo(time + 0.17f, 0.16f, 0.05f);
  }
  jaw.MoveTo(9.6f, 0.1f, 0);
  // Nods twice.
  for (const float time : {6.6f, 7.3f}) {
    pitch.MoveTo(time, 0.32f, 13);
    pitch.MoveTo(time + 0.33f, 0.32f, -4);
  }
  pitch.MoveTo(8.1f, 0.4f, 0);
  for (const float time : {1.55f, 3.5f, 6.3f, 8.4f}) {
    blink.MoveTo(time, 0.09f, 1);
    blink.MoveTo(time + 0.13f, 0.12f, 0);
  }

  std::vector<FaceState> states(static_cast<size_t>(num_frames));
  for (size_t i = 0; i < states.size(); ++i) {
    const float t =
        static_cast<float>(std::fmod(static_cast<double>(i) / fps, static_cast<double>(kDuration)));
    FaceState& state = states[i];
    state.pose = {yaw.At(t), pitch.At(t), roll.At(t)};
    Expression& e = state.expression;
    e.jaw_drop = jaw.At(t);
    e.smile = smile.At(t);
    e.cheek_raise = 0.8f * e.smile;
    e.eye_close_left = e.eye_close_right = Unit(blink.At(t) + 0.15f * e.smile);
    e.brow_inner = e.brow_outer = brows.At(t);
    e.eyes_wide = 0.7f * brows.At(t);
    e.gaze_x = gaze_x.At(t);
  }
  return states;
}

}  // namespace reenact
