#include "pipeline/source/face_path.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "pipeline/face/head_pose.h"
#include "pipeline/face/motion_smoothing.h"
#include "pipeline/face/one_euro.h"

namespace reenact {
namespace {

// Landmarks reach a little beyond the picture.
constexpr double kUnits = 8192;

double Mix(double a, double b, double share) { return a + share * (b - a); }

// The way from one direction to another, -pi to pi.
double ShortestTurn(double from, double to) {
  return std::remainder(to - from, 2 * std::numbers::pi);
}

}  // namespace

void FacePath::Add(const std::optional<Landmarks>& face, bool cut, double seconds) {
  Spot spot;
  spot.seconds = seconds;
  if (!spots_.empty()) spot.scene = spots_.back().scene + (cut ? 1 : 0);
  Points points = {};
  if (face.has_value()) {
    // Both axes in units of the width.
    const CropBox whole = {width_ / 2.0, height_ / 2.0, double{1} * width_};
    if (const auto pose = FitHeadPose(ToCrop(*face, whole, width_, height_)); pose.has_value()) {
      spot.seen = true;
      spot.head.x = pose->translation.x * width_;
      spot.head.y = (pose->translation.y - 0.5) * width_ + height_ / 2.0;
      spot.head.size = std::log(pose->scale * width_);
      spot.head.turn = -AnglesOf(pose->rotation).roll * std::numbers::pi / 180;
    }
    for (size_t i = 0; i < face->size(); ++i) {
      const auto store = [](float value) {
        return static_cast<int16_t>(std::lround(std::clamp(value * kUnits, -32000.0, 32000.0)));
      };
      points[2 * i] = store((*face)[i].x);
      points[2 * i + 1] = store((*face)[i].y);
    }
  }
  spots_.push_back(spot);
  points_.push_back(points);
}

void FacePath::FillGaps(size_t begin, size_t end) {
  std::optional<size_t> before;
  for (size_t i = begin; i < end; ++i) {
    if (spots_[i].seen) {
      before = i;
      spots_[i].shown_by = static_cast<int>(i);
      spots_[i].placed = true;
      continue;
    }
    size_t after = i + 1;
    while (after < end && !spots_[after].seen) ++after;
    if (!before.has_value() && after == end) {
      num_without_ += static_cast<int>(end - begin);
      return;
    }
    Spot& spot = spots_[i];
    spot.placed = true;
    ++num_guessed_;
    if (!before.has_value() || after == end) {
      const size_t other = before.value_or(after);
      spot.head = spots_[other].head;
      spot.shown_by = static_cast<int>(other);
      continue;
    }
    const Spot &a = spots_[*before], &b = spots_[after];
    const double share = (spot.seconds - a.seconds) / (b.seconds - a.seconds);
    spot.head = {Mix(a.head.x, b.head.x, share), Mix(a.head.y, b.head.y, share),
                 Mix(a.head.size, b.head.size, share),
                 a.head.turn + share * ShortestTurn(a.head.turn, b.head.turn)};
    spot.shown_by = static_cast<int>(share < 0.5 ? *before : after);
  }
}

void FacePath::Smooth(size_t begin, size_t end) {
  const SmoothingOptions options;
  // Turns without jumps by whole circles.
  for (size_t i = begin + 1; i < end; ++i) {
    spots_[i].head.turn =
        spots_[i - 1].head.turn + ShortestTurn(spots_[i - 1].head.turn, spots_[i].head.turn);
  }
  std::vector<Head> means(end - begin);
  for (const bool forwards : {true, false}) {
    OneEuro<2> place;
    OneEuro<1> size, turn;
    double last = 0;
    for (size_t k = 0; k < means.size(); ++k) {
      const size_t i = forwards ? begin + k : end - 1 - k;
      const Spot& spot = spots_[i];
      const double step = std::max(std::abs(spot.seconds - last), 1e-6);
      last = spot.seconds;
      Head& mean = means[i - begin];
      const auto at =
          place.Filter({spot.head.x, spot.head.y}, step, options.place, std::exp(spot.head.size));
      mean.x += at[0] / 2;
      mean.y += at[1] / 2;
      mean.size += size.Filter({spot.head.size}, step, options.size)[0] / 2;
      mean.turn += turn.Filter({spot.head.turn}, step, options.rotation)[0] / 2;
    }
  }
  for (size_t i = begin; i < end; ++i) spots_[i].head = means[i - begin];
}

void FacePath::Settle(int reference, const CropBox& box) {
  box_ = box;
  for (size_t begin = 0; begin < spots_.size();) {
    size_t end = begin + 1;
    while (end < spots_.size() && spots_[end].scene == spots_[begin].scene) ++end;
    FillGaps(begin, end);
    if (spots_[begin].placed) Smooth(begin, end);
    begin = end;
  }
  const Spot& known = spots_[static_cast<size_t>(reference)];
  reference_ = known.head;
  if (known.placed) return;
  // A face, but no head that could be followed.
  for (Spot& spot : spots_) spot.placed = false;
  num_guessed_ = 0;
  num_without_ = num_frames();
}

Placement FacePath::PlaceOf(const Head& head) const {
  // The square's middle lies from the head as it does in the reference.
  const double scale = std::exp(head.size - reference_.size);
  const double turn = head.turn - reference_.turn;
  const double x = scale * (box_.center_x - reference_.x);
  const double y = scale * (box_.center_y - reference_.y);
  const double c = std::cos(turn), s = std::sin(turn);
  return {.box = {head.x + c * x - s * y, head.y + s * x + c * y, scale * box_.side}, .turn = turn};
}

std::optional<Placement> FacePath::place(int frame) const {
  const Spot& spot = spots_[static_cast<size_t>(frame)];
  if (!spot.placed) return std::nullopt;
  return PlaceOf(spot.head);
}

Landmarks FacePath::landmarks(int frame) const {
  const int shown_by = spots_[static_cast<size_t>(frame)].shown_by;
  const Points& points = points_[static_cast<size_t>(shown_by)];
  const Placement place = PlaceOf(spots_[static_cast<size_t>(shown_by)].head);
  const double c = std::cos(place.turn) / place.box.side;
  const double s = std::sin(place.turn) / place.box.side;
  Landmarks landmarks;
  for (size_t i = 0; i < landmarks.size(); ++i) {
    const double x = points[2 * i] / kUnits * width_ - place.box.center_x;
    const double y = points[2 * i + 1] / kUnits * height_ - place.box.center_y;
    landmarks[i] = {static_cast<float>(c * x + s * y + 0.5),
                    static_cast<float>(c * y - s * x + 0.5), 0};
  }
  return landmarks;
}

}  // namespace reenact
