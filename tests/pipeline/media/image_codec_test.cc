#include "pipeline/media/image_codec.h"

#include <jpeglib.h>

#include <cstdio>
#include <cstdlib>

#include "pipeline/media/poster.h"
#include "pipeline/media/resize.h"
#include "tests/pipeline/media/media_testing.h"

namespace reenact {
namespace {

using testing::AsString;
using testing::Difference;
using testing::FailsWith;
using testing::Ffmpeg;
using testing::Gradient;
using ::testing::HasSubstr;
using testing::IsOk;
using ::testing::Not;
using testing::ReadFile;
using testing::TemporaryFolder;

constexpr auto kInvalid = absl::StatusCode::kInvalidArgument;
constexpr auto kTooMuch = absl::StatusCode::kResourceExhausted;

// The first frame of `source` through the ffmpeg tool as `file`, with `options`.
std::string Make(const TemporaryFolder& folder, const std::string& file, const std::string& options,
                 const std::string& source = "testsrc=size=75x50") {
  Ffmpeg(folder, "-f lavfi -i " + source + " -frames:v 1 " + options + " " + (folder / file));
  return ReadFile(folder / file);
}

std::string Expected(const TemporaryFolder& folder, const std::string& file) {
  return Ffmpeg(folder, "-noautorotate -i " + (folder / file) + " -f rawvideo -pix_fmt rgb24 -");
}

void Append(std::string& bytes, uint64_t value, int count, bool little) {
  for (int i = 0; i < count; ++i) {
    bytes += static_cast<char>(value >> 8 * (little ? i : count - 1 - i));
  }
}

// An uncompressed RGB TIFF in one strip, by hand.
std::string Tiff(const Image& image, int orientation, bool little) {
  std::string file = little ? "II" : "MM";
  Append(file, 42, 2, little);
  Append(file, 8, 4, little);
  constexpr int kEntries = 10;
  constexpr uint32_t kBits = 8 + 2 + 12 * kEntries + 4;
  const uint32_t entries[kEntries][4] = {// tag, type (3: short, 4: long), count, value
                                         {256, 3, 1, static_cast<uint32_t>(image.width)},
                                         {257, 3, 1, static_cast<uint32_t>(image.height)},
                                         {258, 3, 3, kBits},
                                         {259, 3, 1, 1},
                                         {262, 3, 1, 2},
                                         {273, 4, 1, kBits + 6},
                                         {274, 3, 1, static_cast<uint32_t>(orientation)},
                                         {277, 3, 1, 3},
                                         {278, 3, 1, static_cast<uint32_t>(image.height)},
                                         {279, 4, 1, static_cast<uint32_t>(image.rgb.size())}};
  Append(file, kEntries, 2, little);
  for (const auto& entry : entries) {
    Append(file, entry[0], 2, little);
    Append(file, entry[1], 2, little);
    Append(file, entry[2], 4, little);
    const bool is_short = entry[1] == 3 && entry[2] == 1;
    Append(file, entry[3], is_short ? 2 : 4, little);
    if (is_short) Append(file, 0, 2, little);
  }
  Append(file, 0, 4, little);
  for (int i = 0; i < 3; ++i) Append(file, 8, 2, little);
  return file + AsString(image);
}

// EXIF data that holds an orientation and nothing else.
std::string Exif(int orientation, bool little) {
  std::string exif = little ? "II" : "MM";
  Append(exif, 42, 2, little);
  Append(exif, 8, 4, little);
  Append(exif, 1, 2, little);
  Append(exif, 274, 2, little);
  Append(exif, 3, 2, little);
  Append(exif, 1, 4, little);
  Append(exif, static_cast<uint32_t>(orientation), 2, little);
  Append(exif, 0, 6, little);
  return exif;
}

std::string JpegWithExif(const std::string& jpeg, const std::string& exif) {
  std::string segment = "\xFF\xE1";
  Append(segment, static_cast<uint32_t>(exif.size() + 8), 2, false);
  segment += std::string("Exif\0\0", 6) + exif;
  return jpeg.substr(0, 2) + segment + jpeg.substr(2);
}

// Where EXIF orientation `o` puts the stored pixel (x, y) of a width x height picture, by the
// standard's words: which side of the scene row 0 and column 0 are.
std::pair<int, int> UprightPlace(int o, int x, int y, int width, int height) {
  switch (o) {
    case 2:  // row 0 top, column 0 right
      return {width - 1 - x, y};
    case 3:  // bottom, right
      return {width - 1 - x, height - 1 - y};
    case 4:  // bottom, left
      return {x, height - 1 - y};
    case 5:  // row 0 left, column 0 top
      return {y, x};
    case 6:  // right, top
      return {height - 1 - y, x};
    case 7:  // right, bottom
      return {height - 1 - y, width - 1 - x};
    case 8:  // left, bottom
      return {y, width - 1 - x};
    default:
      return {x, y};
  }
}

void ExpectUpright(const Image& stored, const absl::StatusOr<Image>& decoded, int orientation,
                   int tolerance) {
  ASSERT_THAT(decoded, IsOk());
  const bool is_turned = orientation >= 5;
  ASSERT_EQ(decoded->width, is_turned ? stored.height : stored.width);
  ASSERT_EQ(decoded->height, is_turned ? stored.width : stored.height);
  for (int y = 0; y < stored.height; y += 7) {
    for (int x = 0; x < stored.width; x += 7) {
      const auto [to_x, to_y] = UprightPlace(orientation, x, y, stored.width, stored.height);
      for (int c = 0; c < 3; ++c) {
        ASSERT_NEAR(stored.row(y)[3 * x + c], decoded->row(to_y)[3 * to_x + c], tolerance);
      }
    }
  }
}

// ---- What decodes ----

struct Format {
  const char* name;
  const char* file;
  const char* options;
};
class LosslessFormatTest : public ::testing::TestWithParam<Format> {};

TEST_P(LosslessFormatTest, PixelsEqualTheFfmpegTool) {
  TemporaryFolder folder;
  const std::string bytes = Make(folder, GetParam().file, GetParam().options);

  const auto image = DecodeImage(bytes);

  ASSERT_THAT(image, IsOk());
  EXPECT_EQ(image->width, 75);
  EXPECT_EQ(image->height, 50);
  EXPECT_TRUE(AsString(*image) == Expected(folder, GetParam().file));
}
INSTANTIATE_TEST_SUITE_P(
    All, LosslessFormatTest,
    ::testing::Values(
        Format{"Png", "a.png", "-pix_fmt rgb24"}, Format{"GreyPng", "a.png", "-pix_fmt gray"},
        Format{"OneBitPng", "a.png", "-pix_fmt monob"},
        Format{"PalettePng", "a.png", "-pix_fmt pal8"}, Format{"Bmp", "a.bmp", "-pix_fmt bgr24"},
        Format{"Bmp32", "a.bmp", "-pix_fmt bgra"}, Format{"PaletteBmp", "a.bmp", "-pix_fmt pal8"},
        Format{"Tiff", "a.tiff", "-pix_fmt rgb24"},
        Format{"TiffLzw", "a.tiff", "-pix_fmt rgb24 -compression_algo lzw"},
        Format{"TiffDeflate", "a.tiff", "-pix_fmt rgb24 -compression_algo deflate"},
        Format{"GreyTiff", "a.tiff", "-pix_fmt gray"},
        Format{"WebpLossless", "a.webp", "-pix_fmt bgra -lossless 1"}),
    [](const auto& param) { return std::string(param.param.name); });

class LossyFormatTest : public ::testing::TestWithParam<Format> {};

// Decoders may differ in how they interpolate colour.
TEST_P(LossyFormatTest, PixelsAreCloseToTheFfmpegTool) {
  TemporaryFolder folder;
  const std::string bytes =
      Make(folder, GetParam().file, GetParam().options, "gradients=size=96x64:seed=2");

  const auto image = DecodeImage(bytes);

  ASSERT_THAT(image, IsOk());
  const auto [worst, mean] = Difference(AsString(*image), Expected(folder, GetParam().file));
  EXPECT_LE(worst, 12);
  EXPECT_LT(mean, 2.0);
}
INSTANTIATE_TEST_SUITE_P(All, LossyFormatTest,
                         ::testing::Values(Format{"Jpeg444", "a.jpg", "-q:v 2 -pix_fmt yuvj444p"},
                                           Format{"Jpeg420", "a.jpg", "-q:v 2 -pix_fmt yuvj420p"},
                                           Format{"GreyJpeg", "a.jpg", "-q:v 2 -pix_fmt gray"},
                                           Format{"Webp", "a.webp",
                                                  "-quality 95 -pix_fmt yuv420p"}),
                         [](const auto& param) { return std::string(param.param.name); });

TEST(ImageCodecTest, SixteenBitsAreRoundedToEight) {
  TemporaryFolder folder;
  // One grey level per column, 0 .. 65535 in steps of 257 + 1: rounding and truncation differ.
  std::string raw;
  for (uint32_t x = 0; x < 254; ++x) Append(raw, x * 258, 2, false);
  testing::WriteFile(folder / "a.raw", raw);
  Ffmpeg(folder, "-f rawvideo -pix_fmt gray16be -s 254x1 -i " + (folder / "a.raw") + " " +
                     (folder / "a.png"));
  Ffmpeg(folder, "-f rawvideo -pix_fmt gray16be -s 254x1 -i " + (folder / "a.raw") +
                     " -pix_fmt rgb48le " + (folder / "a.tiff"));

  for (const char* file : {"a.png", "a.tiff"}) {
    SCOPED_TRACE(file);
    const auto image = DecodeImage(ReadFile(folder / file));
    ASSERT_THAT(image, IsOk());
    for (int x = 0; x < 254; ++x) {
      for (int c = 0; c < 3; ++c) {
        // ffmpeg's own grey to RGB conversion is off by one in 16 bits here and there.
        ASSERT_NEAR(image->rgb[static_cast<size_t>(3 * x + c)], x * 258 / 257.0, 0.51) << x;
      }
    }
  }
}

TEST(ImageCodecTest, TransparencyLiesOverWhite) {
  TemporaryFolder folder;
  const std::string raw(
      "\xC8\x00\x64\x00"   // transparent
      "\xC8\x00\x64\xFF"   // opaque
      "\xC8\x00\x64\x80",  // half
      12);
  testing::WriteFile(folder / "a.raw", raw);
  const std::string input = "-f rawvideo -pix_fmt rgba -s 3x1 -i " + (folder / "a.raw") + " ";
  Ffmpeg(folder, input + (folder / "a.png"));
  Ffmpeg(folder, input + "-lossless 1 " + (folder / "a.webp"));

  for (const char* file : {"a.png", "a.webp"}) {
    SCOPED_TRACE(file);
    const auto image = DecodeImage(ReadFile(folder / file));
    ASSERT_THAT(image, IsOk());
    // 200, 0, 100 at 128/255: 255 - 55*0.502, 255 - 255*0.502, 255 - 155*0.502.
    EXPECT_THAT(image->rgb, ::testing::ElementsAre(255, 255, 255, 200, 0, 100, 227, 127, 177));
  }
}

class OrientationTest : public ::testing::TestWithParam<int> {};

TEST_P(OrientationTest, IsHonouredOrIgnoredInEveryFormat) {
  const int orientation = GetParam();
  const Image stored = Gradient(40, 24);
  const std::string jpeg = EncodeJpeg(stored, 100).value();
  const std::string png = EncodePng(stored).value();
  std::string chunk;
  const std::string exif = Exif(orientation, false);
  Append(chunk, static_cast<uint32_t>(exif.size()), 4, false);
  chunk += "eXIf" + exif + std::string(4, '\0');  // the checksum of an ancillary chunk may be wrong
  const std::string files[] = {
      JpegWithExif(jpeg, Exif(orientation, true)),
      JpegWithExif(jpeg, Exif(orientation, false)),
      png.substr(0, 33) + chunk + png.substr(33),
      Tiff(stored, orientation, true),
      Tiff(stored, orientation, false),
  };

  for (size_t i = 0; i < std::size(files); ++i) {
    SCOPED_TRACE(i);
    const int tolerance = i < 2 ? 12 : 0;  // JPEG stores half the colour
    ExpectUpright(stored, DecodeImage(files[i]), orientation, tolerance);
    ExpectUpright(stored, DecodeImage(files[i], {}, Orientation::kIgnore), 1, tolerance);
  }
}
INSTANTIATE_TEST_SUITE_P(All, OrientationTest, ::testing::Range(1, 9));

// A 32 x 32 JPEG of one colour, whose components mean `space`.
std::string JpegOfOneColour(J_COLOR_SPACE space, const std::vector<uint8_t>& colour,
                            bool is_progressive) {
  jpeg_compress_struct encoder = {};
  jpeg_error_mgr errors = {};
  encoder.err = jpeg_std_error(&errors);
  jpeg_create_compress(&encoder);
  unsigned char* bytes = nullptr;
  unsigned long size = 0;
  jpeg_mem_dest(&encoder, &bytes, &size);
  encoder.image_width = encoder.image_height = 32;
  encoder.input_components = static_cast<int>(colour.size());
  encoder.in_color_space = space;
  jpeg_set_defaults(&encoder);
  jpeg_set_quality(&encoder, 100, TRUE);
  if (is_progressive) jpeg_simple_progression(&encoder);
  jpeg_start_compress(&encoder, TRUE);
  std::vector<uint8_t> line;
  for (int x = 0; x < 32; ++x) line.insert(line.end(), colour.begin(), colour.end());
  JSAMPROW row = line.data();
  for (int y = 0; y < 32; ++y) jpeg_write_scanlines(&encoder, &row, 1);
  jpeg_finish_compress(&encoder);
  jpeg_destroy_compress(&encoder);
  const std::string file(reinterpret_cast<const char*>(bytes), size);
  std::free(bytes);
  return file;
}

// Adobe's CMYK is inverted: 255 is no ink.
TEST(ImageCodecTest, InkBecomesLight) {
  for (const auto& [ink, light] : std::vector<std::pair<std::vector<uint8_t>, std::vector<int>>>{
           {{255, 0, 0, 255}, {255, 0, 0}},
           {{255, 255, 255, 255}, {255, 255, 255}},
           {{255, 255, 255, 0}, {0, 0, 0}},
           {{200, 100, 50, 255}, {200, 100, 50}}}) {
    const auto image = DecodeImage(JpegOfOneColour(JCS_CMYK, ink, false));
    ASSERT_THAT(image, IsOk());
    for (int c = 0; c < 3; ++c) EXPECT_NEAR(image->row(16)[3 * 16 + c], light[c], 2);
  }
}

// Every scan costs a pass over the picture, and takes a few bytes.
TEST(ImageCodecTest, EndlessScansAreRefused) {
  const std::string jpeg = JpegOfOneColour(JCS_RGB, {200, 100, 50}, true);
  const size_t last_scan = jpeg.rfind("\xFF\xDA");
  ASSERT_NE(last_scan, std::string::npos);
  const std::string scan = jpeg.substr(last_scan, jpeg.size() - 2 - last_scan);
  const auto with_scans = [&](int count) {
    std::string file = jpeg.substr(0, jpeg.size() - 2);
    for (int i = 0; i < count; ++i) file += scan;
    return file + "\xFF\xD9";
  };

  EXPECT_THAT(DecodeImage(with_scans(50)), IsOk());
  EXPECT_THAT(DecodeImage(with_scans(300)), FailsWith(kInvalid, "JPEG image does not decode"));
}

TEST(ImageCodecTest, PortraitsDecode) {
  REENACT_REQUIRE_DATA();
  const auto image = DecodeImage(ReadFile(testing::DataDir() + "/hallo/reference_images/1.jpg"));
  ASSERT_THAT(image, IsOk());
  EXPECT_EQ(image->width, 1432);
  EXPECT_EQ(image->height, 1432);
}

// ---- What does not ----

TEST(ImageCodecTest, AColourProfileIsNoEventForTheLog) {
  REENACT_REQUIRE_DATA();
  const std::string file = testing::ReadFile(testing::DataDir() + "/scikit-image/astronaut.png");
  ASSERT_NE(file.find("iCCP"), std::string::npos);
  ::testing::internal::CaptureStderr();
  const auto image = DecodeImage(file);
  EXPECT_EQ(::testing::internal::GetCapturedStderr(), "");
  ASSERT_TRUE(image.ok()) << image.status();
  EXPECT_EQ(image->width, 512);
}

TEST(ImageCodecTest, OtherBytesAreNoImage) {
  TemporaryFolder folder;
  for (const std::string& bytes :
       {std::string(), std::string("x"), std::string("hello, this is text"),
        std::string(1000, '\0'), std::string("GIF89a\1\0\1\0\0\0\0;", 14),
        std::string("<svg xmlns='http://www.w3.org/2000/svg'/>"), std::string("P6 1 1 255 abc"),
        std::string("#define a_width 8\n")}) {
    EXPECT_THAT(DecodeImage(bytes), FailsWith(kInvalid, "not an image"));
  }
}

// Found by fuzzing: behind a damaged WebP header, the picture library went on to formats that
// nobody accepts (here DICOM's mark), with gigabytes of memory and files of its own.
TEST(ImageCodecTest, DamagedHeadersLeadToNoOtherFormat) {
  std::string webp = "RIFF";
  Append(webp, 300, 4, true);
  webp += "WEBPVP8 ";
  Append(webp, 200, 4, true);
  webp += std::string("\x00\x02\x00\x9d\x01\x2a\x07\x00\x07\x00", 10);
  webp.resize(128, '\0');
  webp += "DICM";
  webp.resize(308, '\x7F');

  EXPECT_THAT(DecodeImage(webp), FailsWith(kInvalid, "the WebP image does not decode"));
}

// A header alone is enough to refuse: nothing of that size is ever allocated.
TEST(ImageCodecTest, HugeHeadersAreRefusedBySize) {
  const Image small = Gradient(16, 16);
  std::string png = EncodePng(small).value();
  for (int at : {16, 20}) {
    std::string size;
    Append(size, 20000, 4, false);
    png.replace(static_cast<size_t>(at), 4, size);
  }
  EXPECT_THAT(DecodeImage(png), FailsWith(kTooMuch, "20000 x 20000"));
  EXPECT_THAT(DecodeImage(png.substr(0, 33)), FailsWith(kTooMuch, "20000 x 20000"));

  std::string jpeg = EncodeJpeg(small, 90).value();
  const size_t frame = jpeg.find("\xFF\xC0");
  ASSERT_NE(frame, std::string::npos);
  jpeg.replace(frame + 5, 4, "\xFF\xFE\xFF\xFD");
  EXPECT_THAT(DecodeImage(jpeg), FailsWith(kTooMuch, "65533 x 65534"));

  std::string bmp = "BM";
  Append(bmp, 0, 8, true);
  Append(bmp, 54, 4, true);
  Append(bmp, 40, 4, true);
  Append(bmp, 0x7FFFFFFF, 4, true);
  Append(bmp, 0x80000000, 4, true);
  bmp += std::string(28, '\0');
  EXPECT_THAT(DecodeImage(bmp), FailsWith(kTooMuch, "2147483647 x 2147483648"));

  std::string tiff = Tiff(small, 1, true);
  tiff.replace(18, 2, "\xFF\xFF");  // width
  tiff.replace(30, 2, "\xFF\xFF");
  EXPECT_THAT(DecodeImage(tiff), FailsWith(kTooMuch, "65535 x 65535"));

  std::string webp = "RIFF";
  Append(webp, 22, 4, true);
  webp += "WEBPVP8X";
  Append(webp, 10, 4, true);
  webp += std::string(4, '\0') + "\xFF\xFF\xFF\xFF\xFF\xFF";
  EXPECT_THAT(DecodeImage(webp), FailsWith(kTooMuch, "16777216 x 16777216"));
}

TEST(ImageCodecTest, LimitIsExact) {
  const std::string png = EncodePng(Gradient(40, 30)).value();

  EXPECT_THAT(DecodeImage(png, {.max_pixels = 1200}), IsOk());
  EXPECT_THAT(DecodeImage(png, {.max_pixels = 1199}), FailsWith(kTooMuch, "at most 1199"));
}

TEST(ImageCodecTest, TruncatedJpegIsRefused) {
  REENACT_REQUIRE_DATA();
  EXPECT_THAT(DecodeImage(ReadFile(testing::DataDir() + "/scikit-image/truncated.jpg")),
              FailsWith(kInvalid, "JPEG image does not decode"));
}

// Wherever a file is cut, it is refused and not half shown.
TEST(ImageCodecTest, CutFilesAreRefused) {
  TemporaryFolder folder;
  const Image image = Gradient(64, 48);
  const std::string files[] = {
      EncodePng(image).value(),
      EncodeJpeg(image, 90).value(),
      Make(folder, "a.bmp", "-pix_fmt bgr24"),
      Make(folder, "a.webp", "-quality 90"),
      Make(folder, "b.webp", "-lossless 1 -pix_fmt bgra"),
      Tiff(image, 1, true),
      Tiff(image, 1, false),
      Make(folder, "a.tiff", "-pix_fmt rgb24 -compression_algo lzw"),
  };
  for (size_t i = 0; i < std::size(files); ++i) {
    ASSERT_THAT(DecodeImage(files[i]), IsOk()) << i;
    for (size_t percent : {2, 10, 50, 90, 99}) {
      SCOPED_TRACE(::testing::Message() << "file " << i << " at " << percent << " %");
      const auto result = DecodeImage(files[i].substr(0, files[i].size() * percent / 100));
      EXPECT_THAT(result, FailsWith(kInvalid, ""));
    }
  }
}

// Every byte of small files, turned: an image or an error, never a crash; messages never name
// files.
TEST(ImageCodecTest, DamagedBytesDoNoHarm) {
  TemporaryFolder folder;
  const Image image = Gradient(9, 7);
  const std::string files[] = {EncodePng(image).value(), EncodeJpeg(image, 80).value(),
                               Tiff(image, 6, true),
                               Make(folder, "a.bmp", "-pix_fmt pal8", "testsrc=size=9x7"),
                               Make(folder, "a.webp", "-quality 90", "testsrc=size=9x7")};
  for (const std::string& file : files) {
    for (size_t at = 0; at < file.size(); ++at) {
      std::string damaged = file;
      damaged[at] = static_cast<char>(damaged[at] ^ 0xFF);
      const auto result = DecodeImage(damaged, {.max_pixels = 1 << 20});
      if (result.ok()) {
        EXPECT_EQ(result->rgb.size(), static_cast<size_t>(result->width) * result->height * 3);
      } else {
        EXPECT_THAT(std::string(result.status().message()), Not(HasSubstr("/")));
      }
    }
  }
}

// ---- Writing ----

TEST(ImageCodecTest, PngRoundTripIsLossless) {
  const Image image = Gradient(33, 21);
  const auto back = DecodeImage(EncodePng(image).value());
  ASSERT_THAT(back, IsOk());
  EXPECT_EQ(back->width, 33);
  EXPECT_EQ(back->rgb, image.rgb);
}

TEST(ImageCodecTest, JpegQualityCountsAndIsChecked) {
  const Image image = Gradient(64, 64);
  const std::string good = EncodeJpeg(image, 100).value();
  const std::string bad = EncodeJpeg(image, 10).value();

  EXPECT_GT(good.size(), bad.size());
  const auto back = DecodeImage(good);
  ASSERT_THAT(back, IsOk());
  EXPECT_LE(Difference(AsString(*back), AsString(image)).first, 8);
  EXPECT_THAT(EncodeJpeg(image, 0), FailsWith(kInvalid, "quality is 0"));
  EXPECT_THAT(EncodeJpeg(image, 101), FailsWith(kInvalid, "quality is 101"));
}

TEST(ImageCodecTest, EmptyOrWrongImagesAreNotEncoded) {
  EXPECT_THAT(EncodePng(Image{}), FailsWith(kInvalid, "empty"));
  EXPECT_THAT(EncodeJpeg(Image{4, 4, std::vector<uint8_t>(47)}, 90), FailsWith(kInvalid, "size"));
}

TEST(ResizeTest, ShrinkingAverages) {
  Image image{4, 2, {}};
  for (int i = 0; i < 8; ++i) {
    for (int c = 0; c < 3; ++c) image.rgb.push_back(static_cast<uint8_t>(10 * i + c));
  }
  const Image half = ResizeImage(image, 2, 1);
  // Means of 0, 10, 40, 50 and of 20, 30, 60, 70, plus the channel.
  EXPECT_THAT(half.rgb, ::testing::ElementsAre(25, 26, 27, 45, 46, 47));
}

TEST(ResizeTest, EnlargingKeepsTheShapeOfSmoothColour) {
  const Image large = ResizeImage(Gradient(32, 32), 128, 128);
  ASSERT_EQ(large.width, 128);
  ASSERT_EQ(large.rgb.size(), 128u * 128 * 3);
  const Image drawn = Gradient(128, 128);
  for (int c = 0; c < 3; ++c) EXPECT_NEAR(large.row(64)[64 * 3 + c], drawn.row(64)[64 * 3 + c], 4);
}

TEST(ResizeTest, SameSizeAndEmptyStay) {
  const Image image = Gradient(5, 6);
  EXPECT_EQ(ResizeImage(image, 5, 6).rgb, image.rgb);
  EXPECT_TRUE(ResizeImage(Image{}, 5, 6).empty());
}

// ---- Poster ----

TEST(PosterTest, KeepsTheShapeAndNeverGrows) {
  const auto large = MakePoster(Gradient(640, 360), {.max_side = 320});
  const auto small = MakePoster(Gradient(64, 48), {.max_side = 320});
  const auto sliver = MakePoster(Gradient(2000, 3), {.max_side = 16});
  ASSERT_THAT(large, IsOk());
  ASSERT_THAT(small, IsOk());
  ASSERT_THAT(sliver, IsOk());

  const auto decoded = DecodeImage(*large);
  EXPECT_EQ(decoded->width, 320);
  EXPECT_EQ(decoded->height, 180);
  EXPECT_EQ(DecodeImage(*small)->width, 64);
  EXPECT_EQ(DecodeImage(*sliver)->height, 1);
  const auto [worst, mean] =
      Difference(AsString(*decoded), AsString(ResizeImage(Gradient(640, 360), 320, 180)));
  EXPECT_LT(mean, 2.0) << worst;
}

TEST(PosterTest, RangesAreNamed) {
  EXPECT_THAT(MakePoster(Gradient(64, 48), {.max_side = 15}),
              FailsWith(kInvalid, "max_side is 15; it must be 16 to 4096"));
  EXPECT_THAT(MakePoster(Gradient(64, 48), {.quality = 101}),
              FailsWith(kInvalid, "quality is 101; it must be 1 to 100"));
  EXPECT_THAT(MakePoster(Image{}), FailsWith(kInvalid, "empty"));
}

}  // namespace
}  // namespace reenact
