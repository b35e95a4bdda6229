#include "pipeline/media/jpeg.h"

#include <jerror.h>
#include <jpeglib.h>

#include <csetjmp>
#include <cstddef>
#include <cstdio>
#include <cstdlib>
#include <vector>

#include "absl/status/status.h"

namespace reenact {
namespace {

// libjpeg reports errors by calling back, and the callback may not return. Between setjmp and the
// last call into libjpeg nothing is made that has a destructor.
struct Errors {
  jpeg_error_mgr manager;  // first: libjpeg hands out its address
  std::jmp_buf jump;
  bool out_of_memory;
  bool is_incomplete;
};

// A progressive picture costs a pass over all its pixels for each scan of a few bytes. Encoders
// make ten or so.
constexpr int kMaxScans = 200;

void OnError(j_common_ptr common) {
  auto* errors = reinterpret_cast<Errors*>(common->err);
  errors->out_of_memory = common->err->msg_code == JERR_OUT_OF_MEMORY;
  std::longjmp(errors->jump, 1);
}

// Warnings: what a decoder can go on after. Some mean that it makes up the rest of the picture.
void OnMessage(j_common_ptr common, int level) {
  if (level >= 0) return;
  auto* errors = reinterpret_cast<Errors*>(common->err);
  const int code = common->err->msg_code;
  if (code == JWRN_JPEG_EOF || code == JWRN_HIT_MARKER) errors->is_incomplete = true;
}

void OnText(j_common_ptr) {}

void OnProgress(j_common_ptr common) {
  if (!common->is_decompressor) return;
  const auto* decoder = reinterpret_cast<j_decompress_ptr>(common);
  if (decoder->input_scan_number > kMaxScans) {
    auto* errors = reinterpret_cast<Errors*>(common->err);
    errors->is_incomplete = true;
    std::longjmp(errors->jump, 1);
  }
}

void Install(Errors& errors) {
  jpeg_std_error(&errors.manager);
  errors.manager.error_exit = OnError;
  errors.manager.emit_message = OnMessage;
  errors.manager.output_message = OnText;
  errors.out_of_memory = false;
  errors.is_incomplete = false;
}

// Adobe writes CMYK inverted: 255 is no ink.
void CmykToRgb(const uint8_t* cmyk, int width, bool is_inverted, uint8_t* rgb) {
  for (int x = 0; x < width; ++x, cmyk += 4, rgb += 3) {
    for (int c = 0; c < 3; ++c) {
      const int light = is_inverted ? cmyk[c] : 255 - cmyk[c];
      const int black = is_inverted ? cmyk[3] : 255 - cmyk[3];
      rgb[c] = static_cast<uint8_t>((light * black + 127) / 255);
    }
  }
}

// What the decoding works with; made before and ended after all jumps.
struct Decoding {
  jpeg_decompress_struct decoder = {};
  jpeg_progress_mgr progress = {};
  Errors errors = {};
};

// Whether all of the picture came out. `image` has its full size.
bool DecodeInto(Decoding& state, std::string_view bytes, Image& image, std::vector<uint8_t>& line) {
  jpeg_decompress_struct& decoder = state.decoder;
  if (setjmp(state.errors.jump) != 0) return false;
  jpeg_create_decompress(&decoder);
  state.progress.progress_monitor = OnProgress;
  decoder.progress = &state.progress;
  jpeg_mem_src(&decoder, reinterpret_cast<const uint8_t*>(bytes.data()),
               static_cast<unsigned long>(bytes.size()));
  jpeg_read_header(&decoder, TRUE);
  if (static_cast<int>(decoder.image_width) != image.width ||
      static_cast<int>(decoder.image_height) != image.height) {
    return false;
  }
  const bool is_cmyk = decoder.jpeg_color_space == JCS_CMYK || decoder.jpeg_color_space == JCS_YCCK;
  decoder.out_color_space = is_cmyk ? JCS_CMYK : JCS_RGB;
  jpeg_start_decompress(&decoder);
  while (decoder.output_scanline < decoder.output_height) {
    uint8_t* row = image.row(static_cast<int>(decoder.output_scanline));
    JSAMPROW to = is_cmyk ? line.data() : row;
    if (jpeg_read_scanlines(&decoder, &to, 1) != 1) return false;
    if (is_cmyk) CmykToRgb(line.data(), image.width, decoder.saw_Adobe_marker != 0, row);
  }
  jpeg_finish_decompress(&decoder);
  return !state.errors.is_incomplete;
}

struct Encoding {
  jpeg_compress_struct encoder = {};
  Errors errors = {};
  unsigned char* bytes = nullptr;
  unsigned long size = 0;
};

bool EncodeInto(Encoding& state, const Image& image, int quality) {
  jpeg_compress_struct& encoder = state.encoder;
  if (setjmp(state.errors.jump) != 0) return false;
  jpeg_create_compress(&encoder);
  jpeg_mem_dest(&encoder, &state.bytes, &state.size);
  encoder.image_width = static_cast<JDIMENSION>(image.width);
  encoder.image_height = static_cast<JDIMENSION>(image.height);
  encoder.input_components = 3;
  encoder.in_color_space = JCS_RGB;
  jpeg_set_defaults(&encoder);
  jpeg_set_quality(&encoder, quality, TRUE);
  jpeg_start_compress(&encoder, TRUE);
  while (encoder.next_scanline < encoder.image_height) {
    JSAMPROW row = const_cast<JSAMPROW>(image.row(static_cast<int>(encoder.next_scanline)));
    jpeg_write_scanlines(&encoder, &row, 1);
  }
  jpeg_finish_compress(&encoder);
  return true;
}

}  // namespace

absl::StatusOr<Image> DecodeJpeg(std::string_view bytes, int width, int height) {
  Image image{width, height, {}};
  image.rgb.resize(static_cast<size_t>(width) * height * 3);
  std::vector<uint8_t> line(static_cast<size_t>(width) * 4);
  Decoding state;
  state.decoder.err = &state.errors.manager;
  Install(state.errors);
  const bool is_whole = DecodeInto(state, bytes, image, line);
  jpeg_destroy_decompress(&state.decoder);
  if (state.errors.out_of_memory) {
    return absl::ResourceExhaustedError("not enough memory to decode the image");
  }
  return is_whole ? image : Image{};
}

absl::StatusOr<std::string> CompressJpeg(const Image& image, int quality) {
  Encoding state;
  state.encoder.err = &state.errors.manager;
  Install(state.errors);
  const bool is_done = EncodeInto(state, image, quality);
  jpeg_destroy_compress(&state.encoder);
  std::string file;
  if (is_done) file.assign(reinterpret_cast<const char*>(state.bytes), state.size);
  std::free(state.bytes);
  if (state.errors.out_of_memory) {
    return absl::ResourceExhaustedError("not enough memory to encode the image");
  }
  if (!is_done) return absl::InternalError("encoding a JPEG image failed");
  return file;
}

}  // namespace reenact
