#include "pipeline/media/frame_encoder.h"

extern "C" {
#include <libavutil/dict.h>
#include <libavutil/opt.h>
}

#include <algorithm>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"

namespace reenact {
namespace {

// One packet out for every frame in: nothing that looks ahead, reorders or inserts key frames of
// its own. One thread: the bytes must not depend on the machine.
constexpr char kX264Params[] =
    "keyint=infinite:min-keyint=1:scenecut=0:bframes=0:rc-lookahead=0:sync-lookahead=0:mbtree=0:"
    "force-cfr=1:threads=1:lookahead-threads=1:sliced-threads=0";

// How pixels are stored.
struct PixelForm {
  AVPixelFormat format;
  AVColorSpace matrix;
  AVColorRange range;
  bool needs_even_sides;
  // Whether the encoder gets frame numbers for times. Those that only want times for their rate
  // control are kept from clocks that they may not be made for.
  bool counts_frames;
};

PixelForm FormOf(VideoCodec codec) {
  switch (codec) {
    case VideoCodec::kH264:
      return {AV_PIX_FMT_YUV420P, AVCOL_SPC_BT709, AVCOL_RANGE_MPEG, true, false};
    case VideoCodec::kVp9:
    case VideoCodec::kAv1:
      return {AV_PIX_FMT_YUV420P, AVCOL_SPC_BT709, AVCOL_RANGE_MPEG, true, true};
    case VideoCodec::kMjpeg:
      // JPEG knows no other matrix and range.
      return {AV_PIX_FMT_YUVJ420P, AVCOL_SPC_BT470BG, AVCOL_RANGE_JPEG, true, true};
    case VideoCodec::kLossless:
      return {AV_PIX_FMT_RGB24, AVCOL_SPC_RGB, AVCOL_RANGE_JPEG, false, false};
  }
  return {};
}

const char* EncoderOf(VideoCodec codec) {
  switch (codec) {
    case VideoCodec::kH264:
      return "libx264";
    case VideoCodec::kVp9:
      return "libvpx-vp9";
    case VideoCodec::kAv1:
      return "libaom-av1";
    case VideoCodec::kMjpeg:
      return "mjpeg";
    case VideoCodec::kLossless:
      return "libx264rgb";
  }
  return "";
}

struct Settings {
  AVDictionary* dictionary = nullptr;

  ~Settings() { av_dict_free(&dictionary); }
  void Set(const char* name, const std::string& value) {
    av_dict_set(&dictionary, name, value.c_str(), 0);
  }
};

void SetX264(const VideoEncoding& encoding, Settings& settings) {
  constexpr const char* kPresets[] = {"ultrafast", "veryfast", "medium", "slower"};
  settings.Set("preset", kPresets[static_cast<int>(encoding.speed)]);
  settings.Set("forced-idr", "1");
  settings.Set("x264-params", kX264Params);
  if (encoding.codec == VideoCodec::kLossless) {
    settings.Set("qp", "0");
  } else {
    settings.Set("crf", absl::StrCat(CrfOf(encoding)));
  }
}

void SetVp9(const VideoEncoding& encoding, Settings& settings) {
  constexpr std::pair<const char*, const char*> kSpeeds[] = {
      {"realtime", "8"}, {"realtime", "7"}, {"realtime", "5"}, {"good", "3"}};
  const auto& [deadline, speed] = kSpeeds[static_cast<int>(encoding.speed)];
  settings.Set("deadline", deadline);
  settings.Set("cpu-used", speed);
  settings.Set("crf", absl::StrCat(CrfOf(encoding)));
  settings.Set("b", "0");
  settings.Set("lag-in-frames", "0");
  settings.Set("auto-alt-ref", "0");
  settings.Set("row-mt", "0");
}

void SetAv1(const VideoEncoding& encoding, Settings& settings) {
  constexpr std::pair<const char*, const char*> kSpeeds[] = {{"realtime", "cpu-used=10"},
                                                             {"realtime", "cpu-used=9"},
                                                             {"realtime", "cpu-used=7"},
                                                             {"good", "cpu-used=5"}};
  const auto& [usage, speed] = kSpeeds[static_cast<int>(encoding.speed)];
  settings.Set("usage", usage);
  settings.Set("aom-params", speed);
  settings.Set("crf", absl::StrCat(CrfOf(encoding)));
  settings.Set("b", "0");
  settings.Set("lag-in-frames", "0");
  settings.Set("row-mt", "0");
}

}  // namespace

absl::StatusOr<std::unique_ptr<FrameEncoder>> FrameEncoder::Create(const Options& options) {
  std::unique_ptr<FrameEncoder> encoder(new FrameEncoder(options));
  const bool is_even = FormOf(options.encoding.codec).needs_even_sides;
  encoder->coded_width_ = options.width + (is_even ? options.width % 2 : 0);
  encoder->coded_height_ = options.height + (is_even ? options.height % 2 : 0);
  absl::Status status = encoder->OpenEncoder();
  if (status.ok()) status = encoder->OpenScaler();
  if (!status.ok()) return status;
  return encoder;
}

absl::Status FrameEncoder::OpenEncoder() {
  const VideoEncoding& encoding = options_.encoding;
  const std::string name(NameOf(encoding.codec));
  const AVCodec* codec = avcodec_find_encoder_by_name(EncoderOf(encoding.codec));
  if (codec != nullptr) encoder_.reset(avcodec_alloc_context3(codec));
  if (encoder_ == nullptr) {
    return absl::InternalError(absl::StrCat("the ", name, " encoder is not available"));
  }
  const PixelForm form = FormOf(encoding.codec);
  AVCodecContext& encoder = *encoder_;
  encoder.width = coded_width_;
  encoder.height = coded_height_;
  encoder.pix_fmt = form.format;
  encoder.time_base = form.counts_frames ? av_inv_q(options_.frame_rate) : options_.time_base;
  // Without a rate x264 takes one frame per tick and declares a level that no player has.
  encoder.framerate = options_.frame_rate;
  encoder.color_primaries = AVCOL_PRI_BT709;
  encoder.color_trc = AVCOL_TRC_BT709;
  encoder.colorspace = form.matrix;
  encoder.color_range = form.range;
  encoder.sample_aspect_ratio = {1, 1};
  encoder.flags |= AV_CODEC_FLAG_GLOBAL_HEADER | AV_CODEC_FLAG_BITEXACT;
  encoder.thread_count = 1;
  encoder.max_b_frames = 0;
  Settings settings;
  switch (encoding.codec) {
    case VideoCodec::kH264:
    case VideoCodec::kLossless:
      SetX264(encoding, settings);
      break;
    case VideoCodec::kVp9:
      encoder.gop_size = 1 << 20;  // key frames come when asked for
      SetVp9(encoding, settings);
      break;
    case VideoCodec::kAv1:
      encoder.gop_size = 1 << 20;
      SetAv1(encoding, settings);
      break;
    case VideoCodec::kMjpeg:
      encoder.flags |= AV_CODEC_FLAG_QSCALE;
      encoder.global_quality = CrfOf(encoding) * FF_QP2LAMBDA;
      break;
  }
  int error = avcodec_open2(&encoder, codec, &settings.dictionary);
  if (error < 0) {
    return LibavStatus(error, absl::StatusCode::kInternal,
                       absl::StrCat("opening the ", name, " encoder"));
  }
  if (const AVDictionaryEntry* unknown =
          av_dict_get(settings.dictionary, "", nullptr, AV_DICT_IGNORE_SUFFIX);
      unknown != nullptr) {
    return absl::InternalError(
        absl::StrCat("the ", name, " encoder does not know the option ", unknown->key));
  }
  packet_.reset(av_packet_alloc());
  frame_.reset(av_frame_alloc());
  if (packet_ == nullptr || frame_ == nullptr) {
    return absl::ResourceExhaustedError(absl::StrCat("opening the ", name, " encoder"));
  }
  return absl::OkStatus();
}

absl::Status FrameEncoder::OpenScaler() {
  const PixelForm form = FormOf(options_.encoding.codec);
  if (form.format == AV_PIX_FMT_RGB24) return absl::OkStatus();
  scaler_.reset(sws_getContext(coded_width_, coded_height_, AV_PIX_FMT_RGB24, coded_width_,
                               coded_height_, form.format,
                               SWS_BICUBIC | SWS_ACCURATE_RND | SWS_FULL_CHR_H_INP | SWS_BITEXACT,
                               nullptr, nullptr, nullptr));
  if (scaler_ == nullptr) return absl::InternalError("converting frames to YUV is not possible");
  sws_setColorspaceDetails(scaler_.get(), sws_getCoefficients(SWS_CS_DEFAULT), /*srcRange=*/1,
                           sws_getCoefficients(form.matrix),
                           /*dstRange=*/form.range == AVCOL_RANGE_JPEG ? 1 : 0, 0, 1 << 16,
                           1 << 16);
  return absl::OkStatus();
}

absl::Status FrameEncoder::Convert(const Image& image) {
  const PixelForm form = FormOf(options_.encoding.codec);
  av_frame_unref(frame_.get());
  frame_->width = coded_width_;
  frame_->height = coded_height_;
  frame_->format = form.format;
  frame_->colorspace = form.matrix;
  frame_->color_range = form.range;
  const int error = av_frame_get_buffer(frame_.get(), 0);
  if (error < 0) {
    return LibavStatus(error, absl::StatusCode::kResourceExhausted, "encoding a frame");
  }
  const size_t row_bytes = static_cast<size_t>(image.width) * 3;
  if (scaler_ == nullptr) {
    for (int y = 0; y < image.height; ++y) {
      std::copy_n(image.row(y), row_bytes,
                  frame_->data[0] + static_cast<ptrdiff_t>(y) * frame_->linesize[0]);
    }
    return absl::OkStatus();
  }
  const size_t stride = static_cast<size_t>(coded_width_) * 3;
  const uint8_t* rgb = image.rgb.data();
  if (coded_width_ != image.width || coded_height_ != image.height) {
    padded_.resize(stride * static_cast<size_t>(coded_height_));
    for (int y = 0; y < coded_height_; ++y) {
      const uint8_t* from = image.row(std::min(y, image.height - 1));
      uint8_t* to = padded_.data() + stride * static_cast<size_t>(y);
      std::copy_n(from, row_bytes, to);
      if (stride > row_bytes) std::copy_n(from + row_bytes - 3, 3, to + row_bytes);
    }
    rgb = padded_.data();
  }
  const uint8_t* planes[4] = {rgb, nullptr, nullptr, nullptr};
  const int strides[4] = {static_cast<int>(stride), 0, 0, 0};
  sws_scale(scaler_.get(), planes, strides, 0, coded_height_, frame_->data, frame_->linesize);
  return absl::OkStatus();
}

absl::StatusOr<AVPacket*> FrameEncoder::Encode(const Image& image, int64_t pts, int64_t duration,
                                               bool is_key) {
  absl::Status status = Convert(image);
  if (!status.ok()) return status;
  const bool counts = FormOf(options_.encoding.codec).counts_frames;
  frame_->pts = counts ? num_frames_ : pts;
  frame_->pkt_duration = counts ? 1 : duration;
  frame_->pict_type = is_key ? AV_PICTURE_TYPE_I : AV_PICTURE_TYPE_NONE;
  frame_->quality = encoder_->global_quality;
  av_packet_unref(packet_.get());
  int error = avcodec_send_frame(encoder_.get(), frame_.get());
  if (error >= 0) error = avcodec_receive_packet(encoder_.get(), packet_.get());
  if (error < 0) {
    return LibavStatus(error, absl::StatusCode::kInternal,
                       absl::StrCat("encoding frame ", num_frames_));
  }
  if (packet_->pts != frame_->pts) {
    return absl::InternalError(
        absl::StrCat("the ", NameOf(options_.encoding.codec), " encoder holds frames back"));
  }
  ++num_frames_;
  packet_->pts = packet_->dts = pts;
  packet_->duration = duration;
  return packet_.get();
}

}  // namespace reenact
