#include "pipeline/media/resize.h"

#include <opencv2/core.hpp>
#include <opencv2/imgproc.hpp>

namespace reenact {

Image ResizeImage(const Image& image, int width, int height) {
  if (image.empty() || (image.width == width && image.height == height)) return image;
  Image out{width, height, std::vector<uint8_t>(static_cast<size_t>(width) * height * 3)};
  // OpenCV has no const view; the source is only read.
  const cv::Mat from(image.height, image.width, CV_8UC3, const_cast<uint8_t*>(image.rgb.data()));
  cv::Mat to(height, width, CV_8UC3, out.rgb.data());
  const bool shrinks = width <= image.width && height <= image.height;
  cv::resize(from, to, to.size(), 0, 0, shrinks ? cv::INTER_AREA : cv::INTER_CUBIC);
  return out;
}

}  // namespace reenact
