#include "pipeline/face/face_signature.h"

#include <algorithm>
#include <cmath>
#include <cstdint>

#include "pipeline/face/head_pose.h"

namespace reenact {
namespace {

constexpr size_t kNumShapes = FaceSignature::kNumShapes;
constexpr size_t kNumPlaces = FaceSignature::kNumPlaces;
constexpr size_t kSize = FaceSignature::kSize;

// A place whose colour counts: a mesh point, and from there in cm of the head's own frame.
struct Place {
  int point;
  double dx = 0, dy = 0, dz = 0;
  double radius = 0.5;  // cm
};
constexpr std::array<Place, kNumPlaces> kPlaces = {{
    {151},                    // forehead
    {108, 0, 0.3, 0},         // beside it
    {337, 0, 0.3, 0},         //
    {50},                     // cheeks
    {280},                    //
    {195},                    // nose
    {199},                    // chin
    {164, 0, 0, 0, 0.35},     // above the lips
    {214},                    // lower cheeks
    {434},                    //
    {105, 0, 0, 0, 0.3},      // brows
    {334, 0, 0, 0, 0.3},      //
    {17, 0, 0, 0, 0.3},       // lower lip
    {10, 0, 3, -1, 0.8},      // hair above
    {10, 0, 1.2, -0.3, 0.5},  // and where it begins
}};

constexpr double kClear = 0.25, kFull = 0.6;

// Half the distance across of two points that mirror each other, their mean height and depth.
double Width(const HeadShape& shape, int a, int b) { return (shape[b].x - shape[a].x) / 2; }
double Height(const HeadShape& shape, int a, int b) { return (shape[a].y + shape[b].y) / 2; }
double Depth(const HeadShape& shape, int a, int b) { return (shape[a].z + shape[b].z) / 2; }

std::array<double, kNumShapes> Shapes(const HeadShape& s) {
  return {// The outline, from temples to jaw.
          Width(s, 21, 251), Width(s, 127, 356), Width(s, 234, 454), Width(s, 132, 361),
          Width(s, 58, 288), Width(s, 172, 397), Width(s, 150, 379),
          // Forehead and chin.
          s[10].y, s[152].y, s[152].z,
          // Eyes and brows.
          Width(s, 33, 263), Width(s, 133, 362), Height(s, 33, 263), Height(s, 105, 334),
          Height(s, 33, 263) - Height(s, 133, 362),
          // Nose.
          Width(s, 48, 278), s[4].y, s[4].z - Depth(s, 48, 278), s[6].z,
          // Mouth and cheeks.
          Width(s, 61, 291), Height(s, 61, 291), Depth(s, 50, 280)};
}

struct Colour {
  double r = 0, g = 0, b = 0;
};

// Mean around a place in pixels; no value if most of it is outside.
std::optional<Colour> MeanAround(const Image& image, double x, double y, double radius) {
  constexpr int kSteps = 5;
  Colour sum;
  int count = 0;
  for (int i = 0; i < kSteps; ++i) {
    const double py = y + radius * (2.0 * i / (kSteps - 1) - 1);
    for (int k = 0; k < kSteps; ++k) {
      const double px = x + radius * (2.0 * k / (kSteps - 1) - 1);
      if (!(px >= 0 && px < image.width && py >= 0 && py < image.height)) continue;
      const uint8_t* pixel = image.row(static_cast<int>(py)) + 3 * static_cast<int>(px);
      sum.r += pixel[0], sum.g += pixel[1], sum.b += pixel[2];
      ++count;
    }
  }
  if (2 * count < kSteps * kSteps) return std::nullopt;
  return Colour{sum.r / count, sum.g / count, sum.b / count};
}

// Standard deviations, of one person's numbers and of people's means. Measured on 120 synthetic
// people (three clips each, detected landmarks) and six recorded ones; root mean square of both.
struct Spread {
  double within, between;
};
// In the order of Shapes(), cm.
constexpr std::array<Spread, kNumShapes> kShapeSpreads = {{
    {0.067, 0.092}, {0.057, 0.101}, {0.065, 0.101}, {0.095, 0.117}, {0.107, 0.128}, {0.115, 0.134},
    {0.120, 0.139}, {0.200, 0.239}, {0.414, 0.461}, {0.316, 0.237}, {0.060, 0.115}, {0.061, 0.084},
    {0.094, 0.095}, {0.160, 0.273}, {0.091, 0.071}, {0.059, 0.070}, {0.090, 0.105}, {0.036, 0.048},
    {0.076, 0.084}, {0.236, 0.197}, {0.347, 0.392}, {0.037, 0.032},
}};
// In the order of kPlaces: brightness, red to green, blue to green; logarithms of levels. A little
// is added to `within` for the light and white balance of other pictures.
constexpr std::array<std::array<Spread, 3>, kNumPlaces> kColourSpreads = {{
    {{{0.077, 0.16}, {0.023, 0.11}, {0.022, 0.12}}},
    {{{0.072, 0.21}, {0.021, 0.11}, {0.019, 0.13}}},
    {{{0.068, 0.23}, {0.021, 0.11}, {0.018, 0.13}}},
    {{{0.087, 0.20}, {0.036, 0.10}, {0.027, 0.12}}},
    {{{0.083, 0.19}, {0.033, 0.10}, {0.025, 0.11}}},
    {{{0.057, 0.15}, {0.015, 0.10}, {0.014, 0.10}}},
    {{{0.078, 0.18}, {0.041, 0.11}, {0.024, 0.12}}},
    {{{0.081, 0.19}, {0.025, 0.11}, {0.018, 0.13}}},
    {{{0.101, 0.24}, {0.042, 0.10}, {0.032, 0.13}}},
    {{{0.093, 0.24}, {0.040, 0.10}, {0.032, 0.12}}},
    {{{0.109, 0.20}, {0.028, 0.10}, {0.028, 0.13}}},
    {{{0.102, 0.20}, {0.027, 0.11}, {0.028, 0.13}}},
    {{{0.089, 0.19}, {0.051, 0.12}, {0.032, 0.12}}},
    {{{0.219, 0.37}, {0.087, 0.19}, {0.075, 0.18}}},
    {{{0.113, 0.35}, {0.057, 0.17}, {0.041, 0.17}}},
}};
constexpr Spread kMeanLuma = {0.11, 0.27};

// Numbers of one kind follow each other, so together they say less than the sum: these shares of
// it, chosen so that neither people are torn apart nor strangers taken for one.
constexpr double kShapeShare = 0.25;
constexpr double kColourShare = 0.3;
// One number can speak against a person with no more than this (in logarithms of odds): something
// may be in front of him.
constexpr double kMostAgainst = 5;

// Logarithm of the odds that two numbers belong to one person, both normally distributed.
double LogOdds(double difference, const Spread& spread) {
  const double same = 2 * spread.within * spread.within;
  const double other = same + 2 * spread.between * spread.between;
  const double square = difference * difference / 2;
  return std::max(square / other - square / same + std::log(other / same) / 2, -kMostAgainst);
}

}  // namespace

std::optional<FaceSignature> SignFace(const Image& image, const Landmarks& landmarks) {
  Landmarks pixels;
  const auto width = static_cast<float>(image.width), height = static_cast<float>(image.height);
  for (size_t i = 0; i < pixels.size(); ++i) {
    pixels[i] = {landmarks[i].x * width, landmarks[i].y * height, landmarks[i].z * width};
  }
  const std::optional<HeadPose> pose = FitHeadPose(pixels);
  if (!pose.has_value() || !(pose->scale > 0)) return std::nullopt;
  const HeadShape shape = ToHead(pixels, *pose);

  FaceSignature signature;
  const std::array<double, kNumShapes> shapes = Shapes(shape);
  // Of a face from the side the network guesses half.
  const double frontal = pose->rotation(Vector3{0, 0, 1}).z;
  const auto seen = static_cast<float>(std::clamp((frontal - 0.5) / 0.4, 0.0, 1.0));
  for (size_t i = 0; i < kNumShapes; ++i) {
    signature.values[i] = static_cast<float>(shapes[i]);
    signature.weights[i] = seen;
  }

  std::array<Colour, kNumPlaces> logs;
  std::array<float, kNumPlaces> weights = {};
  double sum = 0, total = 0;
  for (size_t i = 0; i < kNumPlaces; ++i) {
    const Place& place = kPlaces[i];
    const Vector3 at = shape[place.point] + Vector3{place.dx, place.dy, place.dz};
    const Vector3 turned = pose->rotation(at);
    const double x = pose->translation.x + pose->scale * turned.x;
    const double y = pose->translation.y - pose->scale * turned.y;
    const auto colour = MeanAround(image, x, y, place.radius * pose->scale);
    if (!colour.has_value()) continue;
    // Away from the head's axis, roughly.
    const Vector3 outward = {at.x, 0.2 * at.y, at.z + 6};
    const double facing = pose->rotation(outward).z / Length(outward);
    weights[i] = static_cast<float>(std::clamp((facing - kClear) / (kFull - kClear), 0.0, 1.0));
    // Logarithms make light a summand.
    const auto level = [](double v) { return std::log(v + 8); };
    const double luma = level(0.299 * colour->r + 0.587 * colour->g + 0.114 * colour->b);
    logs[i] = {luma, level(colour->r) - level(colour->g), level(colour->b) - level(colour->g)};
    sum += weights[i] * luma, total += weights[i];
  }
  const double mean = total > 0 ? sum / total : 0;
  for (size_t i = 0; i < kNumPlaces; ++i) {
    const size_t at = kNumShapes + 3 * i;
    signature.values[at] = static_cast<float>(logs[i].r - mean);
    signature.values[at + 1] = static_cast<float>(logs[i].g);
    signature.values[at + 2] = static_cast<float>(logs[i].b);
    for (int c = 0; c < 3; ++c) signature.weights[at + c] = weights[i];
  }
  signature.values[kSize - 1] = static_cast<float>(mean);
  signature.weights[kSize - 1] = total > 0 ? 1 : 0;
  return signature;
}

double Likeness(const FaceSignature& a, const FaceSignature& b) {
  const auto odds = [&](size_t i, const Spread& spread) {
    return double{std::min(a.weights[i], b.weights[i])} *
           LogOdds(double{a.values[i]} - b.values[i], spread);
  };
  double shape = 0, colour = 0;
  for (size_t i = 0; i < kNumShapes; ++i) shape += odds(i, kShapeSpreads[i]);
  for (size_t i = 0; i < kNumPlaces; ++i) {
    const size_t at = kNumShapes + 3 * i;
    for (size_t c = 0; c < 3; ++c) colour += odds(at + c, kColourSpreads[i][c]);
  }
  colour += odds(kSize - 1, kMeanLuma);
  return 1 / (1 + std::exp(-(kShapeShare * shape + kColourShare * colour)));
}

void Learn(FaceSignature& known, const FaceSignature& seen, float share) {
  for (size_t i = 0; i < kSize; ++i) {
    const float weight = share * seen.weights[i];
    if (!(weight > 0)) continue;
    // What was not known before is taken over.
    const float move = weight / std::max(weight + known.weights[i] * (1 - share), 1e-6f);
    known.values[i] += move * (seen.values[i] - known.values[i]);
    known.weights[i] = std::max(known.weights[i], weight);
  }
}

}  // namespace reenact
