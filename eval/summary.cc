#include "eval/summary.h"

#include <cmath>
#include <cstddef>
#include <functional>

#include "eval/statistics.h"

namespace reenact {
namespace {

// LMSE in squared pixels of a picture of this side.
constexpr double kLmseSide = 256;
// "Above its CSIM to 99 % of other people".
constexpr double kAlmostAll = 0.99;

using Clips = absl::Span<const ClipMeasures>;

std::optional<double> MeanOfFrames(Clips clips, std::optional<double> FrameMeasures::*member) {
  Mean mean;
  for (const ClipMeasures& clip : clips) {
    for (const FrameMeasures& frame : clip.frames) {
      // Equal pictures have an infinite PSNR, which no mean survives.
      const std::optional<double>& value = frame.*member;
      if (value.has_value() && std::isfinite(*value)) mean.Add(*value);
    }
  }
  return mean.value();
}

std::optional<double> MeanOfClips(Clips clips, std::optional<double> ClipMeasures::*member) {
  Mean mean;
  for (const ClipMeasures& clip : clips) mean.Add(clip.*member);
  return mean.value();
}

std::optional<double> Times(std::optional<double> value, double factor) {
  if (value.has_value()) *value *= factor;
  return value;
}

std::optional<double> FoundShare(Clips clips) {
  Mean mean;
  for (const ClipMeasures& clip : clips) {
    for (const FrameMeasures& frame : clip.frames) mean.Add(frame.found.has_value() ? 100 : 0);
  }
  return mean.value();
}

std::optional<double> Follows(Clips clips, bool aligned,
                              const std::function<double(const FaceReading&)>& read) {
  Correlation correlation;
  for (const ClipMeasures& clip : clips) {
    for (const FrameMeasures& frame : clip.frames) {
      if (frame.found.has_value()) correlation.Add(read(*frame.found), read(frame.truth));
    }
    correlation.NextGroup();
  }
  return aligned ? correlation.Pooled() : correlation.WithinGroups();
}

std::optional<double> AboveAlmostAll(Clips clips) {
  Mean mean;
  for (const ClipMeasures& clip : clips) {
    if (clip.less_alike.has_value()) mean.Add(*clip.less_alike >= kAlmostAll ? 100 : 0);
  }
  return mean.value();
}

std::optional<double> JitterRatio(Clips clips) {
  Mean generated, driving;
  for (const ClipMeasures& clip : clips) {
    if (!clip.jitter.has_value() || !clip.driving_jitter.has_value()) continue;
    generated.Add(*clip.jitter);
    driving.Add(*clip.driving_jitter);
  }
  if (generated.count() == 0 || *driving.value() == 0) return std::nullopt;
  return *generated.value() / *driving.value();
}

}  // namespace

std::vector<Metric> Summarise(Clips clips, bool aligned) {
  const auto frames = [&](std::optional<double> FrameMeasures::*member, double factor = 1) {
    return Times(MeanOfFrames(clips, member), factor);
  };
  const auto of_clips = [&](std::optional<double> ClipMeasures::*member, double factor = 1) {
    return Times(MeanOfClips(clips, member), factor);
  };
  const auto follows = [&](const std::function<double(const FaceReading&)>& read) {
    return Follows(clips, aligned, read);
  };
  Mean csim;
  for (const ClipMeasures& clip : clips) csim.Add(clip.csim);
  return {
      {"found", "faces found, % of frames", 1, "95 or more", FoundShare(clips)},
      {"landmark_error", "landmark error against the exact truth, % IOD", 2, "6 or less",
       frames(&FrameMeasures::landmark_error, 100)},
      {"lmse", "LMSE, normalised, 1e-6", 1, "", frames(&FrameMeasures::lmse, 1e6)},
      {"lmse_256", "LMSE, px^2 at 256", 2, "", frames(&FrameMeasures::lmse, kLmseSide * kLmseSide)},
      {"expressive_lmse", "Expressive-LMSE, normalised, 1e-6", 1, "",
       frames(&FrameMeasures::expressive_lmse, 1e6)},
      {"expressive_lmse_256", "Expressive-LMSE, px^2 at 256", 2, "",
       frames(&FrameMeasures::expressive_lmse, kLmseSide * kLmseSide)},
      {"csim", "CSIM", 3, "", csim.value()},
      {"self_csim", "Self-CSIM", 3, "", of_clips(&ClipMeasures::self_csim)},
      {"less_alike", "other people less like the output than its source, %", 1, "",
       of_clips(&ClipMeasures::less_alike, 100)},
      {"above_99", "clips whose source is above 99 % of other people, %", 1, "all",
       AboveAlmostAll(clips)},
      {"likeness", "likeness of face signatures to the source, 0..1", 3, "",
       of_clips(&ClipMeasures::likeness)},
      {"leak", "identity leak (0 source .. 1 driver)", 3, "", of_clips(&ClipMeasures::leak)},
      {"yaw", "r of yaw", 3, "above .95",
       follows([](const FaceReading& face) { return face.angles.yaw; })},
      {"pitch", "r of pitch", 3, "above .95",
       follows([](const FaceReading& face) { return face.angles.pitch; })},
      {"roll", "r of roll", 3, "above .95",
       follows([](const FaceReading& face) { return face.angles.roll; })},
      {"mouth", "r of mouth gap", 3, "above .85",
       follows([](const FaceReading& face) { return face.mouth_gap; })},
      {"eyes", "r of eye opening", 3, "above .6",
       follows([](const FaceReading& face) { return face.eye_opening; })},
      {"gaze", "r of gaze, left to right", 3, "",
       follows([](const FaceReading& face) { return face.gaze_x; })},
      {"psnr", "PSNR, dB", 2, "", frames(&FrameMeasures::psnr)},
      {"psnr_expressive", "PSNR of eyes and mouth, dB", 2, "",
       frames(&FrameMeasures::psnr_expressive)},
      {"ssim", "SSIM", 3, "", frames(&FrameMeasures::ssim)},
      {"skin", "colour error of skin, levels", 1, "below 8", frames(&FrameMeasures::skin)},
      {"hair", "colour error of hair, levels", 1, "below 8", frames(&FrameMeasures::hair)},
      {"clothes", "colour error of clothes, levels", 1, "below 8", frames(&FrameMeasures::clothes)},
      {"inner_hair", "the same of hair that the source shows, 3 pixels from its edges", 1, "",
       frames(&FrameMeasures::inner_hair)},
      {"inner_clothes", "the same of clothes, likewise", 1, "",
       frames(&FrameMeasures::inner_clothes)},
      {"jitter", "jitter, % IOD", 3, "", of_clips(&ClipMeasures::jitter, 100)},
      {"jitter_ratio", "jitter over the driving video's", 2, "", JitterRatio(clips)},
      {"flicker", "change from frame to frame over the driving video's", 2, "",
       of_clips(&ClipMeasures::flicker)},
  };
}

}  // namespace reenact
