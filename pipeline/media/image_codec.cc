#include "pipeline/media/image_codec.h"

extern "C" {
#include <libavutil/mem.h>
#include <libavutil/pixdesc.h>
}

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <optional>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "pipeline/media/jpeg.h"
#include "pipeline/media/libav.h"

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
  int orientation = 1;                 // EXIF's 1..8
  std::string problem = {};            // why it cannot be decoded; empty: nothing found
  AVCodecID codec = AV_CODEC_ID_NONE;  // NONE: JPEG, which libjpeg decodes
  bool alpha_is_padding = false;       // a fourth channel without meaning
  // PNG: where ancillary chunks lie (begin, size) that nobody reads.
  std::vector<std::pair<size_t, size_t>> unread = {};
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
  Header header{.format = "PNG", .codec = AV_CODEC_ID_PNG};
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
    if (name == "iCCP" || name == "eXIf") header.unread.emplace_back(at, 12 + size);
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
  Header header{.format = "WebP", .codec = AV_CODEC_ID_WEBP};
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
  Header header{.format = "BMP", .codec = AV_CODEC_ID_BMP, .alpha_is_padding = true};
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
  Header header{.format = "TIFF", .codec = AV_CODEC_ID_TIFF};
  Bytes bytes(data, /*little=*/data[0] == 'I');
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
Image Upright(Image stored, int orientation) {
  if (orientation == 1) return stored;
  const bool is_turned = orientation >= 5;
  // Which side of the scene row 0 and column 0 are.
  const bool from_right =
      orientation == 2 || orientation == 3 || orientation == 6 || orientation == 7;
  const bool from_bottom =
      orientation == 3 || orientation == 4 || orientation == 7 || orientation == 8;
  Image out;
  out.width = is_turned ? stored.height : stored.width;
  out.height = is_turned ? stored.width : stored.height;
  out.rgb.resize(stored.rgb.size());
  for (int y = 0; y < stored.height; ++y) {
    const uint8_t* from = stored.row(y);
    for (int x = 0; x < stored.width; ++x, from += 3) {
      const int to_x = is_turned ? y : x;
      const int to_y = is_turned ? x : y;
      uint8_t* to = out.row(from_bottom ? out.height - 1 - to_y : to_y) +
                    3 * static_cast<ptrdiff_t>(from_right ? out.width - 1 - to_x : to_x);
      std::copy_n(from, 3, to);
    }
  }
  return out;
}

// One sample over white, scaled from 0..max to 0..255 and rounded.
uint8_t OverWhite(uint64_t value, uint64_t alpha, uint64_t max) {
  if (alpha == max && max == 255) return static_cast<uint8_t>(value);
  const uint64_t sum = value * alpha + max * (max - alpha);
  return static_cast<uint8_t>((sum * 255 + max * max / 2) / (max * max));
}

// A palette holds 32-bit numbers: alpha, red, green and blue from the highest byte down.
void PaletteToRgb(const AVFrame& frame, Image& out) {
  for (int y = 0; y < frame.height; ++y) {
    const uint8_t* from = frame.data[0] + static_cast<ptrdiff_t>(y) * frame.linesize[0];
    uint8_t* to = out.row(y);
    for (int x = 0; x < frame.width; ++x, to += 3) {
      uint32_t colour;
      std::memcpy(&colour, frame.data[1] + 4 * size_t{from[x]}, sizeof(colour));
      for (int c = 0; c < 3; ++c) {
        to[c] = OverWhite(colour >> (16 - 8 * c) & 0xFF, colour >> 24, 255);
      }
    }
  }
}

// Grey and RGB of up to 16 bits, any layout.
void SamplesToRgb(const AVFrame& frame, const AVPixFmtDescriptor& format, bool has_alpha,
                  Image& out) {
  const bool is_grey = format.nb_components <= 2;
  const int num_colours = is_grey ? 1 : 3;
  const int alpha_index = is_grey ? 1 : 3;
  const bool is_inverted = frame.format == AV_PIX_FMT_MONOWHITE;
  std::vector<uint16_t> line(static_cast<size_t>(frame.width));
  std::vector<uint16_t> alpha(static_cast<size_t>(frame.width));
  const auto read = [&](int component, int y, std::vector<uint16_t>& to) {
    av_read_image_line2(to.data(), const_cast<const uint8_t**>(frame.data), frame.linesize, &format,
                        0, y, component, frame.width, 0, sizeof(uint16_t));
  };
  for (int y = 0; y < frame.height; ++y) {
    if (has_alpha) read(alpha_index, y, alpha);
    for (int c = 0; c < num_colours; ++c) {
      const uint64_t max = (uint64_t{1} << format.comp[c].depth) - 1;
      read(c, y, line);
      uint8_t* to = out.row(y) + c;
      for (int x = 0; x < frame.width; ++x, to += 3) {
        const uint64_t value = is_inverted ? max - line[x] : line[x];
        // Colours and alpha have as many bits wherever there are both.
        *to = OverWhite(value, has_alpha ? std::min<uint64_t>(alpha[x], max) : max, max);
        if (is_grey) to[1] = to[2] = to[0];
      }
    }
  }
}

// YUV, as lossy WebP has it, through RGBA.
absl::Status YuvToRgb(const AVFrame& frame, bool has_alpha, Image& out) {
  LibavPtr<SwsContext> scaler(sws_getContext(
      frame.width, frame.height, static_cast<AVPixelFormat>(frame.format), frame.width,
      frame.height, AV_PIX_FMT_RGBA, SWS_BICUBIC | SWS_ACCURATE_RND | SWS_FULL_CHR_H_INT, nullptr,
      nullptr, nullptr));
  if (scaler == nullptr) return absl::InvalidArgumentError("pixels of an unknown kind");
  const int full_range = frame.color_range == AVCOL_RANGE_JPEG ? 1 : 0;
  const int* matrix = sws_getCoefficients(SWS_CS_DEFAULT);
  sws_setColorspaceDetails(scaler.get(), matrix, full_range, matrix, 1, 0, 1 << 16, 1 << 16);
  LibavPtr<AVFrame> rgba(av_frame_alloc());
  if (rgba == nullptr) return absl::ResourceExhaustedError("not enough memory");
  rgba->width = frame.width;
  rgba->height = frame.height;
  rgba->format = AV_PIX_FMT_RGBA;
  if (av_frame_get_buffer(rgba.get(), 0) < 0) {
    return absl::ResourceExhaustedError("not enough memory to decode the image");
  }
  sws_scale(scaler.get(), frame.data, frame.linesize, 0, frame.height, rgba->data, rgba->linesize);
  for (int y = 0; y < frame.height; ++y) {
    const uint8_t* from = rgba->data[0] + static_cast<ptrdiff_t>(y) * rgba->linesize[0];
    uint8_t* to = out.row(y);
    for (int x = 0; x < frame.width; ++x, from += 4, to += 3) {
      for (int c = 0; c < 3; ++c) to[c] = OverWhite(from[c], has_alpha ? from[3] : 255, 255);
    }
  }
  return absl::OkStatus();
}

// The first picture in the whole file `bytes`, by FFmpeg; empty if it is damaged.
absl::StatusOr<LibavPtr<AVFrame>> DecodeFrame(std::string_view bytes, const Header& header) {
  InitLibav();
  const absl::Status no_memory =
      absl::ResourceExhaustedError("not enough memory to decode the image");
  const AVCodec* codec = avcodec_find_decoder(header.codec);
  if (codec == nullptr) {
    return absl::InternalError(absl::StrCat("the ", header.format, " decoder is not available"));
  }
  LibavPtr<AVCodecContext> decoder(avcodec_alloc_context3(codec));
  LibavPtr<AVPacket> packet(av_packet_alloc());
  LibavPtr<AVFrame> frame(av_frame_alloc());
  if (decoder == nullptr || packet == nullptr || frame == nullptr) return no_memory;
  decoder->thread_count = 1;
  // The decoder counts lines that are rounded up; the size itself is compared afterwards.
  decoder->max_pixels = 2 * header.width * header.height + 65536;
  // The TIFF decoder counts a tag that it does not know as an error.
  if (header.codec != AV_CODEC_ID_TIFF) {
    decoder->err_recognition = AV_EF_CRCCHECK | AV_EF_EXPLODE;
  }
  if (avcodec_open2(decoder.get(), codec, nullptr) < 0) return no_memory;
  size_t size = bytes.size();
  for (const auto& [begin, length] : header.unread) size -= length;
  if (av_new_packet(packet.get(), static_cast<int>(size)) < 0) return no_memory;
  size_t from = 0;
  uint8_t* to = packet->data;
  const auto copy_until = [&](size_t end) {
    std::memcpy(to, bytes.data() + from, end - from);
    to += end - from;
  };
  for (const auto& [begin, length] : header.unread) {
    copy_until(begin);
    from = begin + length;
  }
  copy_until(bytes.size());
  int error = avcodec_send_packet(decoder.get(), packet.get());
  if (error >= 0) error = avcodec_receive_frame(decoder.get(), frame.get());
  if (error == AVERROR(EAGAIN)) {
    avcodec_send_packet(decoder.get(), nullptr);
    error = avcodec_receive_frame(decoder.get(), frame.get());
  }
  if (error == AVERROR(ENOMEM)) return no_memory;
  if (error < 0) return LibavPtr<AVFrame>();
  return frame;
}

// All of the file but its orientation. Empty if it is damaged.
absl::StatusOr<Image> Decode(std::string_view bytes, const Header& header) {
  if (header.codec == AV_CODEC_ID_NONE) {
    return DecodeJpeg(bytes, static_cast<int>(header.width), static_cast<int>(header.height));
  }
  absl::StatusOr<LibavPtr<AVFrame>> decoded = DecodeFrame(bytes, header);
  if (!decoded.ok()) return decoded.status();
  if (*decoded == nullptr) return Image{};
  const AVFrame& frame = **decoded;
  if (frame.width != header.width || frame.height != header.height) return Image{};
  const AVPixFmtDescriptor* format = av_pix_fmt_desc_get(static_cast<AVPixelFormat>(frame.format));
  constexpr uint64_t kUnreadable =
      AV_PIX_FMT_FLAG_HWACCEL | AV_PIX_FMT_FLAG_BAYER | AV_PIX_FMT_FLAG_FLOAT;
  const bool is_readable = format != nullptr && (format->flags & kUnreadable) == 0;
  if (!is_readable) {
    return absl::InvalidArgumentError(
        absl::StrCat("the ", header.format, " image has pixels of a kind that is not supported"));
  }
  const bool has_palette = (format->flags & AV_PIX_FMT_FLAG_PAL) != 0;
  const bool has_alpha = !header.alpha_is_padding && (format->flags & AV_PIX_FMT_FLAG_ALPHA) != 0;
  Image out{frame.width, frame.height, {}};
  out.rgb.resize(static_cast<size_t>(frame.width) * frame.height * 3);
  const bool is_yuv =
      format->nb_components >= 3 && (format->flags & AV_PIX_FMT_FLAG_RGB) == 0 && !has_palette;
  if (has_palette) {
    PaletteToRgb(frame, out);
    return out;
  }
  if (!is_yuv) {
    SamplesToRgb(frame, *format, has_alpha, out);
    return out;
  }
  absl::Status status = YuvToRgb(frame, has_alpha, out);
  if (!status.ok()) return status;
  return out;
}

void InterleaveAlpha(const uint8_t* rgb, const uint8_t* alpha, int count, uint8_t* to) {
  for (int x = 0; x < count; ++x, rgb += 3, to += 4) {
    std::copy_n(rgb, 3, to);
    to[3] = alpha[x];
  }
}

absl::Status CheckImage(const Image& image) {
  const size_t expected = static_cast<size_t>(image.width) * image.height * 3;
  if (image.width >= 1 && image.height >= 1 && image.rgb.size() == expected) {
    return absl::OkStatus();
  }
  return absl::InvalidArgumentError("encoding an image: it is empty or has the wrong size");
}

}  // namespace

bool LooksLikePicture(std::string_view bytes) { return ReadHeader(bytes).has_value(); }

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

  absl::StatusOr<Image> decoded = Decode(bytes, *header);
  if (!decoded.ok()) return decoded.status();
  if (decoded->empty()) {
    return absl::InvalidArgumentError(
        absl::StrCat("the ", header->format, " image does not decode: it is damaged"));
  }
  return Upright(*std::move(decoded),
                 orientation == Orientation::kHonour ? header->orientation : 1);
}

absl::StatusOr<std::string> EncodeJpeg(const Image& image, int quality) {
  if (quality < 1 || quality > 100) {
    return absl::InvalidArgumentError(
        absl::StrCat("JPEG quality is ", quality, "; it must be 1 to 100"));
  }
  if (absl::Status status = CheckImage(image); !status.ok()) return status;
  return CompressJpeg(image, quality);
}

absl::StatusOr<std::string> EncodePng(const Image& image, absl::Span<const uint8_t> alpha) {
  if (absl::Status status = CheckImage(image); !status.ok()) return status;
  if (!alpha.empty() && alpha.size() != image.rgb.size() / 3) {
    return absl::InvalidArgumentError(absl::StrCat("encoding an image of ", image.rgb.size() / 3,
                                                   " pixels: its alpha has ", alpha.size()));
  }
  InitLibav();
  const AVCodec* codec = avcodec_find_encoder(AV_CODEC_ID_PNG);
  if (codec == nullptr) return absl::InternalError("the PNG encoder is not available");
  LibavPtr<AVCodecContext> encoder(avcodec_alloc_context3(codec));
  LibavPtr<AVPacket> packet(av_packet_alloc());
  LibavPtr<AVFrame> frame(av_frame_alloc());
  if (encoder == nullptr || packet == nullptr || frame == nullptr) {
    return absl::ResourceExhaustedError("encoding a PNG image: out of memory");
  }
  encoder->width = frame->width = image.width;
  encoder->height = frame->height = image.height;
  encoder->pix_fmt = alpha.empty() ? AV_PIX_FMT_RGB24 : AV_PIX_FMT_RGBA;
  frame->format = encoder->pix_fmt;
  encoder->time_base = {1, 25};
  encoder->thread_count = 1;
  encoder->compression_level = 1;
  encoder->flags |= AV_CODEC_FLAG_BITEXACT;
  AVDictionary* options = nullptr;
  av_dict_set(&options, "pred", "sub", 0);
  int error = avcodec_open2(encoder.get(), codec, &options);
  av_dict_free(&options);
  if (error >= 0) error = av_frame_get_buffer(frame.get(), 0);
  if (error >= 0) {
    for (int y = 0; y < image.height; ++y) {
      uint8_t* to = frame->data[0] + static_cast<ptrdiff_t>(y) * frame->linesize[0];
      if (alpha.empty()) {
        std::memcpy(to, image.row(y), static_cast<size_t>(image.width) * 3);
      } else {
        InterleaveAlpha(image.row(y), &alpha[static_cast<size_t>(y) * image.width], image.width,
                        to);
      }
    }
    frame->pts = 0;
    error = avcodec_send_frame(encoder.get(), frame.get());
  }
  if (error >= 0) error = avcodec_receive_packet(encoder.get(), packet.get());
  if (error < 0) {
    return LibavStatus(
        error, absl::StatusCode::kInternal,
        absl::StrCat("encoding a PNG image of ", image.width, " x ", image.height, " pixels"));
  }
  return std::string(reinterpret_cast<const char*>(packet->data),
                     static_cast<size_t>(packet->size));
}

}  // namespace reenact
