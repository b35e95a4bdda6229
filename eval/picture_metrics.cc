#include "eval/picture_metrics.h"

#include <array>
#include <cmath>
#include <cstddef>
#include <cstdlib>
#include <limits>

namespace reenact {
namespace {

constexpr int kWindow = 11;
constexpr double kSigma = 1.5;

double ToDecibels(double squared_error, double count) {
  if (squared_error == 0) return std::numeric_limits<double>::infinity();
  return 10 * std::log10(255.0 * 255.0 * count / squared_error);
}

double Square(double value) { return value * value; }

std::vector<double> Luminance(const Image& image) {
  std::vector<double> y(image.rgb.size() / 3);
  for (size_t i = 0; i < y.size(); ++i) {
    y[i] = 0.299 * image.rgb[3 * i] + 0.587 * image.rgb[3 * i + 1] + 0.114 * image.rgb[3 * i + 2];
  }
  return y;
}

std::array<double, kWindow> GaussianWindow() {
  std::array<double, kWindow> window{};
  double sum = 0;
  for (int i = 0; i < kWindow; ++i) {
    const double x = i - (kWindow - 1) / 2;
    window[static_cast<size_t>(i)] = std::exp(-0.5 * Square(x / kSigma));
    sum += window[static_cast<size_t>(i)];
  }
  for (double& weight : window) weight /= sum;
  return window;
}

// Weighted means in the windows that lie inside: (width - 10) * (height - 10).
std::vector<double> WindowMeans(const std::vector<double>& values, int width, int height) {
  static const std::array<double, kWindow> window = GaussianWindow();
  const int inner = width - kWindow + 1, rows = height - kWindow + 1;
  std::vector<double> across(static_cast<size_t>(inner) * static_cast<size_t>(height));
  for (int y = 0; y < height; ++y) {
    for (int x = 0; x < inner; ++x) {
      double sum = 0;
      for (int k = 0; k < kWindow; ++k) {
        sum += window[static_cast<size_t>(k)] * values[static_cast<size_t>(y * width + x + k)];
      }
      across[static_cast<size_t>(y * inner + x)] = sum;
    }
  }
  std::vector<double> means(static_cast<size_t>(inner) * static_cast<size_t>(rows));
  for (int y = 0; y < rows; ++y) {
    for (int x = 0; x < inner; ++x) {
      double sum = 0;
      for (int k = 0; k < kWindow; ++k) {
        sum += window[static_cast<size_t>(k)] * across[static_cast<size_t>((y + k) * inner + x)];
      }
      means[static_cast<size_t>(y * inner + x)] = sum;
    }
  }
  return means;
}

std::vector<double> Product(const std::vector<double>& a, const std::vector<double>& b) {
  std::vector<double> product(a.size());
  for (size_t i = 0; i < a.size(); ++i) product[i] = a[i] * b[i];
  return product;
}

}  // namespace

double Psnr(const Image& a, const Image& b) {
  double error = 0;
  for (size_t i = 0; i < a.rgb.size(); ++i) error += Square(int{a.rgb[i]} - int{b.rgb[i]});
  return ToDecibels(error, static_cast<double>(a.rgb.size()));
}

std::optional<double> MaskedPsnr(const Image& a, const Image& b, const std::vector<uint8_t>& mask) {
  double error = 0, count = 0;
  for (size_t i = 0; i < mask.size(); ++i) {
    if (mask[i] == 0) continue;
    for (size_t k = 3 * i; k < 3 * i + 3; ++k) error += Square(int{a.rgb[k]} - int{b.rgb[k]});
    count += 3;
  }
  if (count == 0) return std::nullopt;
  return ToDecibels(error, count);
}

double Ssim(const Image& a, const Image& b) {
  constexpr double kC1 = (0.01 * 255) * (0.01 * 255), kC2 = (0.03 * 255) * (0.03 * 255);
  const std::vector<double> x = Luminance(a), y = Luminance(b);
  const auto means = [&](const std::vector<double>& values) {
    return WindowMeans(values, a.width, a.height);
  };
  const std::vector<double> mean_x = means(x), mean_y = means(y), xx = means(Product(x, x)),
                            yy = means(Product(y, y)), xy = means(Product(x, y));
  double sum = 0;
  for (size_t i = 0; i < mean_x.size(); ++i) {
    const double mx = mean_x[i], my = mean_y[i];
    const double variance_x = xx[i] - mx * mx, variance_y = yy[i] - my * my,
                 covariance = xy[i] - mx * my;
    sum += (2 * mx * my + kC1) * (2 * covariance + kC2) /
           ((mx * mx + my * my + kC1) * (variance_x + variance_y + kC2));
  }
  return sum / static_cast<double>(mean_x.size());
}

double MeanDifference(const Image& a, const Image& b) {
  double sum = 0;
  for (size_t i = 0; i < a.rgb.size(); ++i) sum += std::abs(int{a.rgb[i]} - int{b.rgb[i]});
  return sum / static_cast<double>(a.rgb.size());
}

std::optional<double> ColourError(const Image& generated, const Image& truth,
                                  const std::vector<uint8_t>& mask, int min_pixels) {
  std::array<double, 3> difference{};
  int count = 0;
  for (size_t i = 0; i < mask.size(); ++i) {
    if (mask[i] == 0) continue;
    ++count;
    for (size_t c = 0; c < 3; ++c) {
      difference[c] += int{generated.rgb[3 * i + c]} - int{truth.rgb[3 * i + c]};
    }
  }
  if (count == 0 || count < min_pixels) return std::nullopt;
  double sum = 0;
  for (const double channel : difference) sum += std::abs(channel) / count;
  return sum / 3;
}

}  // namespace reenact
