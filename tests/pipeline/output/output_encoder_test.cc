#include "pipeline/output/output_encoder.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <memory>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "pipeline/media/image_codec.h"
#include "pipeline/media/poster.h"
#include "pipeline/media/video_reader.h"

namespace reenact {
namespace {

using ::testing::HasSubstr;

constexpr int kWidth = 46, kHeight = 38;
constexpr int kFrames = 23;

// A picture that is another one for every `index`, with a matte that is a ramp.
OutputPicture PictureOf(int index, bool with_matte) {
  OutputPicture picture;
  picture.image = {kWidth, kHeight, std::vector<uint8_t>(size_t{kWidth} * kHeight * 3)};
  for (int y = 0; y < kHeight; ++y) {
    for (int x = 0; x < kWidth; ++x) {
      uint8_t* to = picture.image.row(y) + 3 * x;
      to[0] = static_cast<uint8_t>(5 * x + 7 * index);
      to[1] = static_cast<uint8_t>(6 * y + 3 * index);
      to[2] = static_cast<uint8_t>(index * 10);
      if (with_matte) picture.matte.push_back(static_cast<uint8_t>(5 * x + index));
    }
  }
  return picture;
}

OutputEncoder::Options OptionsOf(OutputFormat format, Matte matte = Matte::kNone) {
  OutputEncoder::Options options;
  options.format = format;
  options.matte = matte;
  options.video.width = kWidth;
  options.video.height = kHeight;
  options.video.time_base_den = 25;
  options.video.frames_per_fragment = 5;
  return options;
}

std::unique_ptr<OutputEncoder> Make(OutputEncoder::Options options) {
  auto encoder = OutputEncoder::Create(std::move(options));
  EXPECT_TRUE(encoder.ok()) << encoder.status();
  return *std::move(encoder);
}

// All that comes of kFrames frames, of which every sixth repeats the one before.
std::vector<Output> EncodeAll(const OutputEncoder::Options& options) {
  const auto encoder = Make(options);
  std::vector<Output> outputs;
  int num_frames = 0;
  const auto take = [&] {
    auto encoded = encoder->Take();
    ASSERT_TRUE(encoded.ok()) << encoded.status();
    num_frames += encoded->num_frames;
    for (Output& output : encoded->outputs) outputs.push_back(std::move(output));
  };
  for (int i = 0; i < kFrames; ++i) {
    OutputEncoder::Frame frame = {.index = i, .pts = 2 * i, .duration = 2, .picture = {}};
    if (i % 6 != 5) frame.picture = PictureOf(i, options.matte != Matte::kNone);
    EXPECT_TRUE(encoder->Add(std::move(frame)).ok());
    if (i % 4 == 0) take();
  }
  EXPECT_TRUE(encoder->Finish().ok());
  while (encoder->WaitForOne()) {
  }
  take();
  EXPECT_EQ(num_frames, kFrames);
  EXPECT_TRUE(encoder->idle());
  return outputs;
}

TEST(OutputEncoderTest, AThreadChangesNoByte) {
  for (const auto& [format, matte] : {std::tuple{OutputFormat::kFragmentedMp4, Matte::kNone},
                                      std::tuple{OutputFormat::kFragmentedMp4, Matte::kBelow},
                                      std::tuple{OutputFormat::kJpeg, Matte::kBelow},
                                      std::tuple{OutputFormat::kPng, Matte::kAlpha},
                                      std::tuple{OutputFormat::kRawRgb, Matte::kAlpha},
                                      std::tuple{OutputFormat::kRawRgb, Matte::kNone}}) {
    OutputEncoder::Options options = OptionsOf(format, matte);
    options.poster = true;
    options.own_thread = false;
    const std::vector<Output> expected = EncodeAll(options);
    for (const int max_waiting : {1, 4}) {
      options.own_thread = true;
      options.max_waiting = max_waiting;
      const std::vector<Output> outputs = EncodeAll(options);
      ASSERT_EQ(outputs.size(), expected.size());
      for (size_t i = 0; i < outputs.size(); ++i) {
        EXPECT_EQ(outputs[i].kind, expected[i].kind);
        EXPECT_TRUE(outputs[i].data == expected[i].data) << i;
        EXPECT_EQ(outputs[i].first_frame, expected[i].first_frame);
        EXPECT_EQ(outputs[i].num_frames, expected[i].num_frames);
        EXPECT_EQ(outputs[i].pts, expected[i].pts);
      }
    }
  }
}

TEST(OutputEncoderTest, EveryFrameHasItsPlace) {
  const std::vector<Output> outputs = EncodeAll(OptionsOf(OutputFormat::kRawRgb));
  ASSERT_EQ(outputs.size(), size_t{kFrames});
  for (int i = 0; i < kFrames; ++i) {
    const Output& output = outputs[i];
    EXPECT_EQ(output.kind, Output::Kind::kFrame);
    EXPECT_EQ(output.first_frame, i);
    EXPECT_EQ(output.num_frames, 1);
    EXPECT_EQ(output.pts, 2 * i);
    EXPECT_EQ(output.time_base_den, 25);
    EXPECT_EQ(output.width, kWidth);
    EXPECT_EQ(output.height, kHeight);
    EXPECT_EQ(output.repeated, i % 6 == 5);
    const Image shown = PictureOf(i % 6 == 5 ? i - 1 : i, false).image;
    EXPECT_TRUE(std::equal(output.data.begin(), output.data.end(), shown.rgb.begin(),
                           shown.rgb.end(),
                           [](char a, uint8_t b) { return static_cast<uint8_t>(a) == b; }));
  }
}

TEST(OutputEncoderTest, ThePosterComesOnceAndFirst) {
  for (const OutputFormat format : {OutputFormat::kFragmentedMp4, OutputFormat::kPng}) {
    OutputEncoder::Options options = OptionsOf(format, Matte::kBelow);
    options.poster = true;
    const std::vector<Output> outputs = EncodeAll(options);
    ASSERT_GT(outputs.size(), 1u);
    EXPECT_EQ(outputs[0].kind, Output::Kind::kPoster);
    EXPECT_EQ(outputs[0].num_frames, 0);
    EXPECT_EQ(outputs[0].width, kWidth);
    EXPECT_EQ(outputs[0].height, kHeight) << "the matte is no part of it";
    EXPECT_EQ(outputs[0].data, *MakePoster(PictureOf(0, false).image));
    EXPECT_EQ(std::count_if(outputs.begin(), outputs.end(),
                            [](const Output& o) { return o.kind == Output::Kind::kPoster; }),
              1);
  }
}

TEST(OutputEncoderTest, ALargePosterIsMadeSmallAndSaysSo) {
  OutputEncoder::Options options = OptionsOf(OutputFormat::kRawRgb);
  options.poster = true;
  options.video.width = 1030;
  options.video.height = 90;
  const auto encoder = Make(options);
  OutputPicture picture;
  picture.image = {1030, 90, std::vector<uint8_t>(size_t{1030} * 90 * 3, 80)};
  ASSERT_TRUE(encoder->Add({.index = 0, .pts = 0, .duration = 1, .picture = picture}).ok());
  while (encoder->WaitForOne()) {
  }
  const auto encoded = encoder->Take();
  ASSERT_TRUE(encoded.ok());
  ASSERT_EQ(encoded->outputs.size(), 2u);
  const Output& poster = encoded->outputs[0];
  const auto shown = DecodeImage(poster.data);
  ASSERT_TRUE(shown.ok()) << shown.status();
  EXPECT_EQ(shown->width, 512);
  EXPECT_EQ(shown->height, 45);
  EXPECT_EQ(poster.width, shown->width);
  EXPECT_EQ(poster.height, shown->height);
}

TEST(OutputEncoderTest, AlphaIsAFourthChannel) {
  const OutputPicture picture = PictureOf(0, true);
  const std::vector<Output> raw = EncodeAll(OptionsOf(OutputFormat::kRawRgb, Matte::kAlpha));
  ASSERT_EQ(raw[0].data.size(), 4 * picture.matte.size());
  EXPECT_EQ(raw[0].height, kHeight);
  for (size_t i = 0; i < picture.matte.size(); ++i) {
    for (size_t c = 0; c < 3; ++c) {
      ASSERT_EQ(static_cast<uint8_t>(raw[0].data[4 * i + c]), picture.image.rgb[3 * i + c]);
    }
    ASSERT_EQ(static_cast<uint8_t>(raw[0].data[4 * i + 3]), picture.matte[i]);
  }
  // Read back, transparency lies over white.
  const std::vector<Output> png = EncodeAll(OptionsOf(OutputFormat::kPng, Matte::kAlpha));
  const auto read = DecodeImage(png[0].data);
  ASSERT_TRUE(read.ok()) << read.status();
  for (size_t i = 0; i < picture.matte.size(); ++i) {
    for (size_t c = 0; c < 3; ++c) {
      const int alpha = picture.matte[i];
      const int over_white =
          (picture.image.rgb[3 * i + c] * alpha + 255 * (255 - alpha) + 127) / 255;
      ASSERT_NEAR(read->rgb[3 * i + c], over_white, 1);
    }
  }
}

TEST(OutputEncoderTest, BelowIsAGreyPictureOfTheSameSize) {
  const OutputPicture picture = PictureOf(0, true);
  const std::vector<Output> png = EncodeAll(OptionsOf(OutputFormat::kPng, Matte::kBelow));
  EXPECT_EQ(png[0].width, kWidth);
  EXPECT_EQ(png[0].height, 2 * kHeight);
  const auto read = DecodeImage(png[0].data);
  ASSERT_TRUE(read.ok()) << read.status();
  ASSERT_EQ(read->width, kWidth);
  ASSERT_EQ(read->height, 2 * kHeight);
  const size_t half = picture.image.rgb.size();
  EXPECT_TRUE(std::equal(picture.image.rgb.begin(), picture.image.rgb.end(), read->rgb.begin()));
  for (size_t i = 0; i < half; ++i) ASSERT_EQ(read->rgb[half + i], picture.matte[i / 3]);

  std::string mp4;
  for (const Output& output : EncodeAll(OptionsOf(OutputFormat::kFragmentedMp4, Matte::kBelow))) {
    mp4 += output.data;
  }
  const auto reader = VideoReader::Open(mp4);
  ASSERT_TRUE(reader.ok()) << reader.status();
  EXPECT_EQ((*reader)->info().width, kWidth);
  EXPECT_EQ((*reader)->info().height, 2 * kHeight);
}

TEST(OutputEncoderTest, AnErrorIsToldAndEndsIt) {
  for (const bool own_thread : {false, true}) {
    OutputEncoder::Options options = OptionsOf(OutputFormat::kFragmentedMp4);
    options.own_thread = own_thread;
    options.max_waiting = 1;
    const auto encoder = Make(options);
    absl::Status status;
    // The second frame begins where the first has not ended.
    for (int i = 0; i < 10 && status.ok(); ++i) {
      status = encoder->Add(
          {.index = i, .pts = i, .duration = 5, .picture = PictureOf(i, /*with_matte=*/false)});
    }
    EXPECT_THAT(std::string(status.message()), HasSubstr("frame 1 begins at 1"));
    EXPECT_FALSE(encoder->WaitForOne());
    EXPECT_EQ(encoder->Take().status(), status);
    EXPECT_EQ(encoder->Finish(), status);
    EXPECT_FALSE(encoder->idle()) << "there is an error to be told";
  }
}

TEST(OutputEncoderTest, APictureOfAnotherSizeIsAnError) {
  for (const Matte matte : {Matte::kNone, Matte::kBelow}) {
    OutputEncoder::Options options = OptionsOf(OutputFormat::kJpeg, matte);
    options.own_thread = false;
    const auto encoder = Make(options);
    OutputPicture picture = PictureOf(0, /*with_matte=*/false);
    if (matte == Matte::kNone) picture.image.rgb.resize(30);
    EXPECT_EQ(encoder->Add({.index = 0, .pts = 0, .duration = 1, .picture = picture}).code(),
              absl::StatusCode::kInternal);
  }
}

TEST(OutputEncoderTest, CanBeLeftInTheMiddle) {
  for (int i = 0; i < 20; ++i) {
    const auto encoder = Make(OptionsOf(OutputFormat::kFragmentedMp4));
    for (int k = 0; k < i; ++k) {
      ASSERT_TRUE(
          encoder->Add({.index = k, .pts = k, .duration = 1, .picture = PictureOf(k, false)}).ok());
    }
  }
}

TEST(OutputEncoderTest, MemoryOfPicturesComesBack) {
  const auto encoder = Make(OptionsOf(OutputFormat::kRawRgb));
  EXPECT_TRUE(encoder->TakeSpare().image.empty());
  for (int i = 0; i < 3; ++i) {
    ASSERT_TRUE(
        encoder->Add({.index = i, .pts = i, .duration = 1, .picture = PictureOf(i, false)}).ok());
  }
  while (encoder->WaitForOne()) {
  }
  // The last is kept, as it may be shown again.
  EXPECT_FALSE(encoder->TakeSpare().image.empty());
  EXPECT_FALSE(encoder->TakeSpare().image.empty());
  EXPECT_TRUE(encoder->TakeSpare().image.empty());
}

TEST(OutputEncoderTest, RefusesOptionsThatDoNotFit) {
  EXPECT_EQ(OutputEncoder::Create(OptionsOf(OutputFormat::kJpeg, Matte::kAlpha)).status().code(),
            absl::StatusCode::kInvalidArgument);
  OutputEncoder::Options options = OptionsOf(OutputFormat::kFragmentedMp4, Matte::kBelow);
  options.video.height = 9000;
  EXPECT_EQ(OutputEncoder::Create(options).status().code(), absl::StatusCode::kInvalidArgument)
      << "twice as high is too high";
  options.max_waiting = 0;
  EXPECT_EQ(OutputEncoder::Create(options).status().code(), absl::StatusCode::kInvalidArgument);
}

}  // namespace
}  // namespace reenact
