#include "pipeline/media/image_codec.h"

#include <algorithm>
#include <cstdlib>
#include <exception>
#include <limits>
#include <new>
#include <opencv2/core.hpp>
#include <opencv2/core/utils/logger.hpp>
#include <opencv2/imgcodecs.hpp>
#include <opencv2/imgproc.hpp>
#include <optional>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"

namespace reenact {
namespace {

// Bytes with bounds-checked numbers in either byte order. A read past the end gives 0 and clears
// ok().
class Bytes {
 public:
  explicit Bytes(std::string_view data, bool little = false) : data_(data), little_(little) {}

  uint32_t Number(size_t at, int count) {
    if (at > data_.size() || data_.size() - at < static_cast<size_t>(count)) {
      ok_ = false;
      return 0;
    }
    uint32_t value = 0;
    for (int i = 0; i < count; ++i) {
      const int shift = 8 * (little_ ? i : count - 1 - i);
      value |= static_cast<uint32_t>(static_cast<uint8_t>(data_[at + i])) << shift;
    }
    return value;
  }
  uint32_t U8(size_t at) { return Number(at, 1); }
  uint32_t U16(size_t at) { return Number(at, 2); }
  uint32_t U32(size_t at) { return Number(at, 4); }
  bool ok() const { return ok_; }
  size_t size() const { return data_.size(); }

 private:
  std::string_view data_;
  bool little_;
  bool ok_ = true;
};

// What a file's structure tells before any pixel is decoded.
struct Header {
  const char* format = "";
  int64_t width = 0;
  int64_t height = 0;
  int orientation = 1;       // EXIF's 1..8
  std::string problem = {};  // why it cannot be decoded; empty: nothing found
  std::optional<size_t> tiff_orientation_tag = {};  // where the value lies
  bool tiff_little = true;
  bool alpha_is_padding = false;  // a fourth channel without meaning
  // PNG: where colour profiles lie (begin, size). Nobody reads them, but libpng complains of some.
  std::vector<std::pair<size_t, size_t>> png_profiles = {};
};

// Tag 274 of the first directory of a TIFF structure (EXIF data is one); 1 if it says nothing
// sensible.
int ExifOrientation(std::string_view tiff) {
  if (tiff.size() < 8) return 1;
  Bytes bytes(tiff, tiff[0] == 'I');
  const size_t directory = bytes.U32(4);
  const uint32_t count = bytes.U16(directory);
  for (uint32_t i = 0; i < count && bytes.ok(); ++i) {
    const size_t entry = directory + 2 + 12 * size_t{i};
    if (bytes.U16(entry) != 274) continue;
    const uint32_t value = bytes.U16(entry + 8);
    return bytes.ok() && value >= 1 && value <= 8 ? static_cast<int>(value) : 1;
  }
  return 1;
}

constexpr char kCutOff[] = "it is cut off";

Header ReadPng(std::string_view data) {
  Header header{.format = "PNG"};
  Bytes bytes(data);
  if (data.size() < 33 || data.substr(12, 4) != "IHDR") {
    header.problem = kCutOff;
    return header;
  }
  header.width = bytes.U32(16);
  header.height = bytes.U32(20);
  bool ended = false;
  size_t at = 8;
  while (!ended && data.size() - at >= 12) {
    const size_t size = bytes.U32(at);
    if (size > data.size() - at - 12) break;
    const std::string_view name = data.substr(at + 4, 4);
    if (name == "eXIf") header.orientation = ExifOrientation(data.substr(at + 8, size));
    if (name == "iCCP") header.png_profiles.emplace_back(at, 12 + size);
    ended = name == "IEND";
    at += 12 + size;
  }
  if (!ended) header.problem = kCutOff;
  return header;
}

Header ReadJpeg(std::string_view data) {
  Header header{.format = "JPEG"};
  Bytes bytes(data);
  size_t at = 2;
  bool has_scan = false;
  while (true) {
    while (at < data.size() && static_cast<uint8_t>(data[at]) != 0xFF) ++at;
    while (at < data.size() && static_cast<uint8_t>(data[at]) == 0xFF) ++at;
    if (at >= data.size()) break;
    const uint8_t marker = static_cast<uint8_t>(data[at++]);
    if (marker == 0xD9) {  // end of image
      if (!has_scan) header.problem = "it holds no picture";
      return header;
    }
    // Stuffed zeros and restart markers lie inside the entropy-coded data and carry no length.
    if (marker == 0 || marker == 1 || (marker >= 0xD0 && marker <= 0xD8)) continue;
    const size_t size = bytes.U16(at);
    if (!bytes.ok() || size < 2 || size > data.size() - at) break;
    const bool is_frame_header =
        marker >= 0xC0 && marker <= 0xCF && marker != 0xC4 && marker != 0xC8 && marker != 0xCC;
    if (is_frame_header) {
      // The largest, should a file try to show two.
      header.height = std::max<int64_t>(header.height, bytes.U16(at + 3));
      header.width = std::max<int64_t>(header.width, bytes.U16(at + 5));
    } else if (marker == 0xE1 && data.substr(at + 2, 6) == std::string_view("Exif\0\0", 6)) {
      header.orientation = ExifOrientation(data.substr(at + 8, size - 8));
    } else if (marker == 0xDA) {
      has_scan = true;
    }
    at += size;
  }
  header.problem = kCutOff;
  return header;
}

Header ReadWebp(std::string_view data) {
  Header header{.format = "WebP"};
  Bytes bytes(data, /*little=*/true);
  const uint64_t declared = uint64_t{bytes.U32(4)} + 8;
  if (declared > data.size()) header.problem = kCutOff;
  size_t at = 12;
  while (data.size() - at >= 8) {
    const std::string_view name = data.substr(at, 4);
    const size_t size = bytes.U32(at + 4);
    const size_t body = at + 8;
    int64_t width = 0;
    int64_t height = 0;
    if (name == "VP8X") {
      if ((bytes.U8(body) & 2) != 0) header.problem = "animated WebP is not supported";
      width = bytes.Number(body + 4, 3) + 1;
      height = bytes.Number(body + 7, 3) + 1;
    } else if (name == "VP8 ") {
      width = bytes.U16(body + 6) & 0x3FFF;
      height = bytes.U16(body + 8) & 0x3FFF;
    } else if (name == "VP8L") {
      const uint32_t packed = bytes.U32(body + 1);
      width = (packed & 0x3FFF) + 1;
      height = (packed >> 14 & 0x3FFF) + 1;
    } else if (name == "EXIF" && size <= data.size() - body) {
      std::string_view exif = data.substr(body, size);
      if (exif.starts_with(std::string_view("Exif\0\0", 6))) exif.remove_prefix(6);
      header.orientation = ExifOrientation(exif);
    }
    header.width = std::max(header.width, width);
    header.height = std::max(header.height, height);
    if (size > data.size() - body) break;
    at = std::min(data.size(), body + size + (size & 1));
  }
  return header;
}

Header ReadBmp(std::string_view data) {
  Header header{.format = "BMP", .alpha_is_padding = true};
  Bytes bytes(data, /*little=*/true);
  const uint64_t pixels_at = bytes.U32(10);
  uint32_t bits = 0;
  uint32_t compression = 0;
  if (bytes.U32(14) == 12) {
    header.width = bytes.U16(18);
    header.height = bytes.U16(20);
    bits = bytes.U16(24);
  } else {
    // Negative height: rows from the top. Negative width is nonsense and fails the size check.
    header.width = static_cast<int32_t>(bytes.U32(18));
    header.height = std::abs(int64_t{static_cast<int32_t>(bytes.U32(22))});
    bits = bytes.U16(28);
    compression = bytes.U32(30);
  }
  const bool is_plain = compression == 0 || compression == 3;
  const uint64_t row = header.width > 0 ? (uint64_t(header.width) * bits + 31) / 32 * 4 : 0;
  const bool is_sane = header.height <= 1 << 20 && header.width <= 1 << 20;
  const bool is_short =
      is_plain && is_sane && pixels_at + row * uint64_t(header.height) > data.size();
  if (!bytes.ok() || is_short) header.problem = kCutOff;
  return header;
}

Header ReadTiff(std::string_view data) {
  Header header{.format = "TIFF", .tiff_little = data[0] == 'I'};
  Bytes bytes(data, header.tiff_little);
  const size_t directory = bytes.U32(4);
  const uint32_t count = bytes.U16(directory);
  // Where the strips or tiles lie and how long they are: directory entries of these two lists.
  size_t offsets = 0;
  size_t lengths = 0;
  const auto value = [&bytes](size_t entry, uint32_t index) -> uint64_t {
    const bool is_short = bytes.U16(entry + 2) == 3;
    const size_t width = is_short ? 2 : 4;
    const uint32_t number = bytes.U32(entry + 4);
    const size_t at = number * width <= 4 ? entry + 8 : bytes.U32(entry + 8);
    return is_short ? bytes.U16(at + width * index) : bytes.U32(at + width * index);
  };
  for (uint32_t i = 0; i < count && bytes.ok(); ++i) {
    const size_t entry = directory + 2 + 12 * size_t{i};
    switch (bytes.U16(entry)) {
      case 256:
        header.width = static_cast<int64_t>(value(entry, 0));
        break;
      case 257:
        header.height = static_cast<int64_t>(value(entry, 0));
        break;
      case 274: {
        const uint64_t orientation = value(entry, 0);
        if (orientation >= 1 && orientation <= 8 && bytes.U16(entry + 2) == 3) {
          header.orientation = static_cast<int>(orientation);
          header.tiff_orientation_tag = entry + 8;
        }
        break;
      }
      case 273:
      case 324:
        offsets = entry;
        break;
      case 279:
      case 325:
        lengths = entry;
        break;
      default:
        break;
    }
  }
  bool is_short = false;
  if (offsets != 0 && lengths != 0 && bytes.ok()) {
    const uint32_t number = std::min(bytes.U32(offsets + 4), bytes.U32(lengths + 4));
    for (uint32_t i = 0; i < number && bytes.ok() && !is_short; ++i) {
      is_short = value(offsets, i) + value(lengths, i) > data.size();
    }
  }
  if (!bytes.ok() || is_short) header.problem = kCutOff;
  return header;
}

std::optional<Header> ReadHeader(std::string_view data) {
  using std::string_view_literals::operator""sv;
  if (data.starts_with("\x89PNG\r\n\x1A\n"sv)) return ReadPng(data);
  if (data.starts_with("\xFF\xD8\xFF"sv)) return ReadJpeg(data);
  if (data.starts_with("RIFF"sv) && data.size() >= 12 && data.substr(8, 4) == "WEBP"sv) {
    return ReadWebp(data);
  }
  if (data.starts_with("BM"sv) && data.size() >= 26) return ReadBmp(data);
  if (data.size() >= 8 && (data.starts_with("II*\0"sv) || data.starts_with("MM\0*"sv))) {
    return ReadTiff(data);
  }
  return std::nullopt;
}

// Turns and mirrors stored pixels into the upright picture of EXIF's orientations 1..8.
cv::Mat Upright(const cv::Mat& stored, int orientation) {
  cv::Mat turned = stored;
  if (orientation >= 5) cv::transpose(stored, turned);
  cv::Mat out;
  switch (orientation) {
    case 2:  // mirrored left-right
    case 6:  // transposed, then mirrored: a quarter turn clockwise
      cv::flip(turned, out, 1);
      return out;
    case 3:  // half turn
    case 7:
      cv::flip(turned, out, -1);
      return out;
    case 4:  // mirrored top-bottom
    case 8:  // a quarter turn counter-clockwise
      cv::flip(turned, out, 0);
      return out;
    default:
      return turned;
  }
}

// 8- or 16-bit grey, BGR or BGRA to RGB. The channels of `pixels` have the type T.
template <typename T>
Image ToRgb(const cv::Mat& pixels, bool has_alpha) {
  constexpr uint64_t kMax = std::numeric_limits<T>::max();
  const int channels = pixels.channels();
  Image out{pixels.cols, pixels.rows, {}};
  out.rgb.resize(static_cast<size_t>(out.width) * out.height * 3);
  for (int y = 0; y < out.height; ++y) {
    const T* from = pixels.ptr<T>(y);
    uint8_t* to = out.row(y);
    for (int x = 0; x < out.width; ++x, from += channels, to += 3) {
      const uint64_t alpha = has_alpha ? from[channels - 1] : kMax;
      for (int c = 0; c < 3; ++c) {
        const uint64_t value = channels >= 3 ? from[2 - c] : from[0];
        // (value * alpha + white * (max - alpha)) / max, scaled to 255 and rounded.
        const uint64_t sum = value * alpha + kMax * (kMax - alpha);
        to[c] = static_cast<uint8_t>((sum * 255 + kMax * kMax / 2) / (kMax * kMax));
      }
    }
  }
  return out;
}

absl::StatusOr<cv::Mat> Decode(std::string_view bytes, const Header& header) {
  // What a caller's file is like is no event for this process's log. Setting it again does no harm.
  cv::utils::logging::setLogLevel(cv::utils::logging::LOG_LEVEL_SILENT);
  std::string copy;
  if (header.tiff_orientation_tag.has_value() && header.orientation != 1) {
    // The TIFF decoder turns some orientations and not others; with the tag at 1 it turns none.
    copy = std::string(bytes);
    copy[*header.tiff_orientation_tag] = header.tiff_little ? 1 : 0;
    copy[*header.tiff_orientation_tag + 1] = header.tiff_little ? 0 : 1;
    bytes = copy;
  }
  if (!header.png_profiles.empty()) {
    copy = std::string(bytes);
    for (auto i = header.png_profiles.rbegin(); i != header.png_profiles.rend(); ++i) {
      copy.erase(i->first, i->second);
    }
    bytes = copy;
  }
  try {
    // OpenCV has no const view; the bytes are only read.
    const cv::Mat view(1, static_cast<int>(bytes.size()), CV_8UC1, const_cast<char*>(bytes.data()));
    const int flags = header.alpha_is_padding ? cv::IMREAD_COLOR | cv::IMREAD_IGNORE_ORIENTATION
                                              : cv::IMREAD_UNCHANGED;
    return cv::imdecode(view, flags);
  } catch (const std::bad_alloc&) {
    return absl::ResourceExhaustedError("not enough memory to decode the image");
  } catch (const std::exception&) {
    return cv::Mat();  // a damaged file; what OpenCV says of it is not for our callers
  }
}

absl::StatusOr<std::string> Encode(const Image& image, const char* extension,
                                   const std::vector<int>& options) {
  const size_t expected = static_cast<size_t>(image.width) * image.height * 3;
  if (image.width < 1 || image.height < 1 || image.rgb.size() != expected) {
    return absl::InvalidArgumentError("encoding an image: it is empty or has the wrong size");
  }
  try {
    const cv::Mat rgb(image.height, image.width, CV_8UC3, const_cast<uint8_t*>(image.rgb.data()));
    cv::Mat bgr;
    cv::cvtColor(rgb, bgr, cv::COLOR_RGB2BGR);
    std::vector<uint8_t> out;
    if (!cv::imencode(extension, bgr, out, options)) {
      return absl::InternalError(absl::StrCat("encoding a ", extension, " image failed"));
    }
    return std::string(out.begin(), out.end());
  } catch (const std::exception&) {
    return absl::InternalError(absl::StrCat("encoding a ", extension, " image of ", image.width,
                                            " x ", image.height, " pixels failed"));
  }
}

}  // namespace

absl::StatusOr<Image> DecodeImage(std::string_view bytes, const ImageLimits& limits,
                                  Orientation orientation) {
  const std::optional<Header> header = ReadHeader(bytes);
  if (!header.has_value()) {
    return absl::InvalidArgumentError(
        "not an image: PNG, JPEG, WebP, BMP and TIFF files are accepted");
  }
  // Size first: a refusal for size must not depend on the rest of the file.
  const bool has_size = header->width > 0 && header->height > 0;
  if (has_size && header->width > limits.max_pixels / header->height) {
    return absl::ResourceExhaustedError(absl::StrCat("the image has ", header->width, " x ",
                                                     header->height, " pixels; at most ",
                                                     limits.max_pixels, " are accepted"));
  }
  if (!header->problem.empty()) {
    return absl::InvalidArgumentError(
        absl::StrCat("the ", header->format, " image does not decode: ", header->problem));
  }
  if (!has_size || bytes.size() > static_cast<size_t>(std::numeric_limits<int>::max())) {
    return absl::InvalidArgumentError(
        absl::StrCat("the ", header->format, " image has no usable size"));
  }

  absl::StatusOr<cv::Mat> decoded = Decode(bytes, *header);
  if (!decoded.ok()) return decoded.status();
  if (decoded->empty() || decoded->cols != header->width || decoded->rows != header->height) {
    return absl::InvalidArgumentError(
        absl::StrCat("the ", header->format, " image does not decode: it is damaged"));
  }
  const int channels = decoded->channels();
  const bool has_alpha = channels == 4 || channels == 2;
  if ((decoded->depth() != CV_8U && decoded->depth() != CV_16U) || channels > 4) {
    return absl::InvalidArgumentError(
        absl::StrCat("the ", header->format, " image has pixels of a kind that is not supported"));
  }
  const cv::Mat upright =
      Upright(*decoded, orientation == Orientation::kHonour ? header->orientation : 1);
  return decoded->depth() == CV_8U ? ToRgb<uint8_t>(upright, has_alpha)
                                   : ToRgb<uint16_t>(upright, has_alpha);
}

absl::StatusOr<std::string> EncodeJpeg(const Image& image, int quality) {
  if (quality < 1 || quality > 100) {
    return absl::InvalidArgumentError(
        absl::StrCat("JPEG quality is ", quality, "; it must be 1 to 100"));
  }
  return Encode(image, ".jpg", {cv::IMWRITE_JPEG_QUALITY, quality});
}

absl::StatusOr<std::string> EncodePng(const Image& image) { return Encode(image, ".png", {}); }

}  // namespace reenact
