// Pictures in every format that is accepted.
#include <filesystem>
#include <fstream>
#include <sstream>

#include "pipeline/media/image_codec.h"
#include "tests/fuzz/fuzz_target.h"

namespace reenact::fuzz {
namespace {

Image Picture() {
  Image image{12, 9, std::vector<uint8_t>(12 * 9 * 3)};
  for (size_t i = 0; i < image.rgb.size(); ++i) image.rgb[i] = static_cast<uint8_t>(i * 7);
  return image;
}

std::string MakePicture(const std::string& options, const std::string& name) {
  std::string folder = (std::filesystem::temp_directory_path() / "reenact_fuzz_XXXXXX").string();
  Require(mkdtemp(folder.data()) != nullptr, "a temporary folder can be made");
  const std::string path = folder + "/" + name;
  const std::string command =
      "ffmpeg -v error -threads 1 -f lavfi -i testsrc=size=12x9 -frames:v 1 -threads 1 " + options +
      " " + path + " </dev/null";
  Require(std::system(command.c_str()) == 0, "the ffmpeg tool makes the seeds");
  std::ifstream file(path, std::ios::binary);
  std::ostringstream bytes;
  bytes << file.rdbuf();
  std::filesystem::remove_all(folder);
  return bytes.str();
}

}  // namespace

std::vector<std::string> Seeds() {
  return {EncodePng(Picture()).value(),
          EncodeJpeg(Picture(), 80).value(),
          MakePicture("-pix_fmt pal8", "a.png"),
          MakePicture("-pix_fmt rgba64be", "a.png"),
          MakePicture("-pix_fmt bgr24", "a.bmp"),
          MakePicture("-pix_fmt pal8", "a.bmp"),
          MakePicture("-pix_fmt rgb24 -compression_algo lzw", "a.tiff"),
          MakePicture("-pix_fmt rgb24 -compression_algo deflate", "b.tiff"),
          MakePicture("-pix_fmt rgb48le -compression_algo raw", "c.tiff"),
          MakePicture("-pix_fmt bgra -lossless 1", "a.webp"),
          MakePicture("-pix_fmt yuva420p -quality 50", "b.webp")};
}

void Run(std::string_view input) {
  const ImageLimits limits = {.max_pixels = 256 * 256};
  const auto image = DecodeImage(input, limits);
  if (!image.ok()) return RequireRefusal(image.status());
  Require(image->width > 0 && image->height > 0, "a picture has pixels");
  Require(int64_t{image->width} * image->height <= limits.max_pixels,
          "a picture is within the limit");
  Require(image->rgb.size() == size_t{3} * image->width * image->height,
          "a picture has all its bytes");
}

}  // namespace reenact::fuzz
