#include "pipeline/face/motion_neutral.h"

#include <algorithm>
#include <cmath>
#include <cstddef>

#include "absl/status/status.h"
#include "pipeline/face/motion_regions.h"

namespace reenact {
namespace {

constexpr size_t kMaxAnalysed = 2000;
constexpr size_t kMaxSamples = 256;
constexpr size_t kMaxCandidates = 9;
// Frames this much worse than the best one still count.
constexpr double kSlack = 0.3;

// What costs 1 each.
constexpr double kUsualDistance = 0.15;  // cm, root mean square over the face
constexpr double kMouthOpening = 0.08;   // of the mouth's width, beyond the one below
constexpr double kClosedMouth = 0.03;
constexpr double kCornerLift =
    0.25;  // cm, either way from the canonical face, beyond the one below
constexpr double kPlainLift = 0.1;
constexpr double kEyeOpeningChange = 0.2;  // of the usual opening
constexpr double kAngle = 0.3;             // radians from frontal

// Eyes are closed now and then, and wide open only sometimes.
constexpr double kUsualOpeningQuantile = 0.8;

constexpr double kFollowSeconds = 1, kUsualSeconds = 20;
// A longer pause counts as this, or the first frame after it would jump.
constexpr double kMaxPassedSeconds = 0.1;

double Quantile(std::vector<double>& values, double q) {
  const auto k = static_cast<ptrdiff_t>(std::lround(q * static_cast<double>(values.size() - 1)));
  std::nth_element(values.begin(), values.begin() + k, values.end());
  return values[static_cast<size_t>(k)];
}

double OpeningOfEyes(const HeadShape& shape) { return EyeOpening(shape, 0) + EyeOpening(shape, 1); }

// Root mean square, cm. Irises move without anything else.
double Distance(const HeadShape& a, const HeadShape& b) {
  double sum = 0;
  for (size_t i = 0; i < MotionRegions::kIrises; ++i) {
    const Vector3 d = a[i] - b[i];
    sum += Dot(d, d);
  }
  return std::sqrt(sum / static_cast<double>(MotionRegions::kIrises));
}

// How far a frame is from rest.
double Unrest(const HeadShape& shape, const Quaternion& rotation, double opening,
              const HeadShape& usual, double usual_opening) {
  double cost = Distance(shape, usual) / kUsualDistance + AngleOf(rotation) / kAngle;
  cost += std::max(MouthOpening(shape) - kClosedMouth, 0.0) / kMouthOpening;
  const double lift = std::abs(CornerLift(shape) - CornerLift(CanonicalShape()));
  cost += std::max(lift - kPlainLift, 0.0) / kCornerLift;
  if (usual_opening > 0) cost += std::abs(opening / usual_opening - 1) / kEyeOpeningChange;
  return cost;
}

HeadShape Mean(absl::Span<const HeadShape* const> shapes) {
  HeadShape mean{};
  for (const HeadShape* shape : shapes) {
    for (size_t i = 0; i < mean.size(); ++i) mean[i] += (*shape)[i];
  }
  for (Vector3& v : mean) v = v * (1 / static_cast<double>(shapes.size()));
  return mean;
}

void Approach(HeadShape& shape, const HeadShape& target, double weight) {
  for (size_t i = 0; i < shape.size(); ++i) shape[i] += (target[i] - shape[i]) * weight;
}

}  // namespace

absl::StatusOr<NeutralFace> FindNeutralFace(absl::Span<const Landmarks> clip) {
  struct Frame {
    HeadPose pose;
    HeadShape shape;
    double opening = 0, cost = 0;
  };
  const size_t stride = (clip.size() + kMaxAnalysed - 1) / kMaxAnalysed;
  std::vector<Frame> frames;
  for (size_t i = 0; i < clip.size(); i += stride) {
    if (const auto pose = FitHeadPose(clip[i]); pose.has_value()) {
      Frame frame{.pose = *pose, .shape = ToHead(clip[i], *pose)};
      frame.opening = OpeningOfEyes(frame.shape);
      frames.push_back(frame);
    }
  }
  if (frames.empty()) {
    return absl::InvalidArgumentError("no frame of the driving video shows a head");
  }

  std::vector<double> values(frames.size());
  const auto quantile = [&](double q, auto value) {
    for (size_t i = 0; i < frames.size(); ++i) values[i] = value(frames[i]);
    return Quantile(values, q);
  };
  HeadShape usual;
  for (size_t i = 0; i < usual.size(); ++i) {
    usual[i] = {quantile(0.5, [i](const Frame& f) { return f.shape[i].x; }),
                quantile(0.5, [i](const Frame& f) { return f.shape[i].y; }),
                quantile(0.5, [i](const Frame& f) { return f.shape[i].z; })};
  }
  const double opening = quantile(kUsualOpeningQuantile, [](const Frame& f) { return f.opening; });
  NeutralFace neutral;
  neutral.place = {quantile(0.5, [](const Frame& f) { return f.pose.translation.x; }),
                   quantile(0.5, [](const Frame& f) { return f.pose.translation.y; }),
                   quantile(0.5, [](const Frame& f) { return f.pose.translation.z; })};
  neutral.scale = quantile(0.5, [](const Frame& f) { return f.pose.scale; });

  std::vector<const Frame*> best;
  for (Frame& frame : frames) {
    frame.cost = Unrest(frame.shape, frame.pose.rotation, frame.opening, usual, opening);
    best.push_back(&frame);
  }
  const size_t count = std::min(best.size(), kMaxCandidates);
  std::partial_sort(best.begin(), best.begin() + static_cast<ptrdiff_t>(count), best.end(),
                    [](const Frame* a, const Frame* b) {
                      return a->cost != b->cost ? a->cost < b->cost : a < b;
                    });
  std::vector<const HeadShape*> shapes;
  for (size_t i = 0; i < count && best[i]->cost <= best[0]->cost + kSlack; ++i) {
    shapes.push_back(&best[i]->shape);
  }
  neutral.shape = Mean(shapes);
  neutral.rotation = best[0]->pose.rotation;
  return neutral;
}

void NeutralTracker::AddSample(const Sample& sample) {
  if (num_frames_ % stride_ != 0) return;
  if (samples_.size() == kMaxSamples) {
    for (size_t i = 0; i < kMaxSamples / 2; ++i) samples_[i] = samples_[2 * i];
    samples_.resize(kMaxSamples / 2);
    stride_ *= 2;
    if (num_frames_ % stride_ != 0) return;
  }
  samples_.push_back(sample);
}

NeutralFace NeutralTracker::Estimate() {
  std::vector<double> values(samples_.size());
  const auto quantile = [&](double q, double Sample::*member) {
    for (size_t i = 0; i < samples_.size(); ++i) values[i] = samples_[i].*member;
    return Quantile(values, q);
  };
  const double opening = quantile(kUsualOpeningQuantile, &Sample::opening);
  for (Candidate& candidate : candidates_) {
    candidate.cost =
        Unrest(candidate.shape, candidate.rotation, candidate.opening, usual_, opening);
  }
  std::stable_sort(candidates_.begin(), candidates_.end(),
                   [](const Candidate& a, const Candidate& b) { return a.cost < b.cost; });
  if (candidates_.size() > kMaxCandidates) candidates_.resize(kMaxCandidates);
  std::vector<const HeadShape*> shapes;
  for (const Candidate& candidate : candidates_) {
    if (candidate.cost <= candidates_.front().cost + kSlack) shapes.push_back(&candidate.shape);
  }
  return {
      .shape = Mean(shapes),
      .rotation = candidates_.front().rotation,
      .place = {quantile(0.5, &Sample::x), quantile(0.5, &Sample::y), quantile(0.5, &Sample::z)},
      .scale = std::exp(quantile(0.5, &Sample::log_scale))};
}

void NeutralTracker::Observe(const Landmarks& frame, double seconds) {
  const auto pose = FitHeadPose(frame);
  if (!pose.has_value()) return;
  Candidate candidate{.shape = ToHead(frame, *pose), .rotation = pose->rotation};
  candidate.opening = OpeningOfEyes(candidate.shape);
  const bool first = candidates_.empty();
  const double passed = first ? 0 : std::clamp(seconds - last_seconds_, 0.0, kMaxPassedSeconds);
  last_seconds_ = first ? seconds : std::max(seconds, last_seconds_);

  AddSample({candidate.opening, pose->translation.x, pose->translation.y, pose->translation.z,
             std::log(pose->scale)});
  ++num_frames_;
  // A plain mean at first, then of the last while.
  Approach(usual_, candidate.shape,
           std::max(1.0 / num_frames_, 1 - std::exp(-passed / kUsualSeconds)));
  candidates_.push_back(candidate);
  const NeutralFace target = Estimate();
  if (first) {
    neutral_ = target;
    return;
  }
  const double weight = 1 - std::exp(-passed / kFollowSeconds);
  Approach(neutral_.shape, target.shape, weight);
  neutral_.rotation = Between(neutral_.rotation, target.rotation, weight);
  neutral_.place += (target.place - neutral_.place) * weight;
  neutral_.scale *= std::pow(target.scale / neutral_.scale, weight);
}

}  // namespace reenact
