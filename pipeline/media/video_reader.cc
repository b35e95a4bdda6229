#include "pipeline/media/video_reader.h"

extern "C" {
#include <libavutil/display.h>
#include <libavutil/opt.h>
#include <libavutil/pixdesc.h>
}

#include <algorithm>
#include <cstdlib>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "pipeline/media/container_check.h"
#include "pipeline/media/deinterlace.h"
#include "pipeline/media/libav.h"

namespace reenact {
namespace {

// One of the eight ways to lay a picture's rows and columns: pixel (x, y) goes to (xx*x + xy*y,
// yx*x + yy*y), moved so that nothing is negative. Entries are -1, 0 or 1.
struct Layout {
  int xx = 1, xy = 0, yx = 0, yy = 1;

  bool swaps_axes() const { return xx == 0; }
  bool is_identity() const { return xx == 1 && yy == 1; }
  // Quarter turns clockwise, ignoring a mirroring.
  int degrees() const {
    if (swaps_axes()) return yx > 0 ? 90 : 270;
    return xx < 0 && yy < 0 ? 180 : 0;
  }
};

// The display matrix holds a, b, u, c, d, v, x, y, w: x' = a x + c y, y' = b x + d y. Turns by
// other angles are not applied.
Layout ReadLayout(const AVStream& stream) {
  size_t size = 0;
  const uint8_t* data = av_stream_get_side_data(&stream, AV_PKT_DATA_DISPLAYMATRIX, &size);
  if (data == nullptr || size < 9 * sizeof(int32_t)) return {};
  const int32_t* m = reinterpret_cast<const int32_t*>(data);
  const auto sign = [](int64_t value) { return value > 0 ? 1 : value < 0 ? -1 : 0; };
  const int64_t a = m[0], b = m[1], c = m[3], d = m[4];
  const int64_t straight = std::min(std::abs(a), std::abs(d));
  const int64_t crossed = std::min(std::abs(b), std::abs(c));
  // Within about one degree.
  if (straight > 0 && std::max(std::abs(b), std::abs(c)) * 50 < straight) {
    return {sign(a), 0, 0, sign(d)};
  }
  if (crossed > 0 && std::max(std::abs(a), std::abs(d)) * 50 < crossed) {
    return {0, sign(c), sign(b), 0};
  }
  return {};
}

// Copies 8-bit RGB rows into an Image laid out as asked.
Image CopyRgb(const uint8_t* rgb, int stride, int width, int height, const Layout& layout) {
  Image out;
  out.width = layout.swaps_axes() ? height : width;
  out.height = layout.swaps_axes() ? width : height;
  out.rgb.resize(static_cast<size_t>(width) * height * 3);
  if (layout.is_identity()) {
    for (int y = 0; y < height; ++y) {
      std::copy_n(rgb + static_cast<ptrdiff_t>(y) * stride, static_cast<size_t>(width) * 3,
                  out.row(y));
    }
    return out;
  }
  const int x0 = (layout.xx < 0 || layout.xy < 0) ? out.width - 1 : 0;
  const int y0 = (layout.yx < 0 || layout.yy < 0) ? out.height - 1 : 0;
  for (int y = 0; y < height; ++y) {
    const uint8_t* from = rgb + static_cast<ptrdiff_t>(y) * stride;
    for (int x = 0; x < width; ++x, from += 3) {
      const int to_x = x0 + layout.xx * x + layout.xy * y;
      const int to_y = y0 + layout.yx * x + layout.yy * y;
      std::copy_n(from, 3, out.row(to_y) + static_cast<ptrdiff_t>(to_x) * 3);
    }
  }
  return out;
}

// Decoded frames of any size, format, matrix and range to RGB of one size. For 8 bits the scaler's
// settings are those of the ffmpeg tool's automatic conversion, so that its frames and ours are
// equal byte by byte. Of more bits its fast path makes subsampled colours 1.5 levels too dark, so
// those take the exact one.
class RgbConverter {
 public:
  // `stored_width` x `stored_height`: the size to convert to, before turning.
  absl::StatusOr<Image> Convert(const AVFrame& frame, int stored_width, int stored_height,
                                const Layout& layout) {
    absl::Status ready = Prepare(frame, stored_width, stored_height);
    if (!ready.ok()) return ready;
    const int rows = sws_scale(scaler_.get(), frame.data, frame.linesize, 0, frame.height,
                               rgb_->data, rgb_->linesize);
    if (rows != stored_height) return absl::InternalError("converting a video frame to RGB failed");
    return CopyRgb(rgb_->data[0], rgb_->linesize[0], stored_width, stored_height, layout);
  }

 private:
  absl::Status Prepare(const AVFrame& frame, int width, int height) {
    if (scaler_ != nullptr && frame.width == width_ && frame.height == height_ &&
        frame.format == format_ && frame.colorspace == matrix_ && frame.color_range == range_) {
      return absl::OkStatus();
    }
    scaler_.reset(sws_alloc_context());
    if (scaler_ == nullptr) return absl::ResourceExhaustedError("converting a video frame");
    SwsContext* scaler = scaler_.get();
    av_opt_set_int(scaler, "srcw", frame.width, 0);
    av_opt_set_int(scaler, "srch", frame.height, 0);
    av_opt_set_int(scaler, "src_format", frame.format, 0);
    av_opt_set_int(scaler, "dstw", width, 0);
    av_opt_set_int(scaler, "dsth", height, 0);
    av_opt_set_int(scaler, "dst_format", AV_PIX_FMT_RGB24, 0);
    const AVPixFmtDescriptor* format =
        av_pix_fmt_desc_get(static_cast<AVPixelFormat>(frame.format));
    const bool is_deep = format != nullptr && format->comp[0].depth > 8;
    av_opt_set_int(scaler, "sws_flags",
                   SWS_BICUBIC | (is_deep ? SWS_ACCURATE_RND | SWS_FULL_CHR_H_INT : 0), 0);
    av_opt_set_int(scaler, "threads", 1, 0);
    const int full_range = frame.color_range == AVCOL_RANGE_JPEG ? 1 : 0;
    av_opt_set_int(scaler, "src_range", full_range, 0);
    if (frame.format == AV_PIX_FMT_YUV420P) av_opt_set_int(scaler, "src_v_chr_pos", 128, 0);
    if (sws_init_context(scaler, nullptr, nullptr) < 0) {
      scaler_.reset();
      const char* name = av_get_pix_fmt_name(static_cast<AVPixelFormat>(frame.format));
      return absl::InvalidArgumentError(absl::StrCat(
          "pixels in the format ", name == nullptr ? "?" : name, " cannot be converted to RGB"));
    }
    // Tell the matrix (and range) only where the video tells; the scaler knows about JPEG-range
    // formats by itself.
    int* coefficients = nullptr;
    int* table = nullptr;
    int src_range = 0, dst_range = 0, brightness = 0, contrast = 0, saturation = 0;
    if (sws_getColorspaceDetails(scaler, &coefficients, &src_range, &table, &dst_range, &brightness,
                                 &contrast, &saturation) >= 0) {
      const int* matrix =
          sws_getCoefficients(IsKnown(frame.colorspace) ? int{frame.colorspace} : SWS_CS_DEFAULT);
      if (frame.color_range != AVCOL_RANGE_UNSPECIFIED) src_range = full_range;
      sws_setColorspaceDetails(scaler, matrix, src_range, table, dst_range, brightness, contrast,
                               saturation);
    }
    rgb_.reset(av_frame_alloc());
    if (rgb_ == nullptr) return absl::ResourceExhaustedError("converting a video frame");
    rgb_->width = width;
    rgb_->height = height;
    rgb_->format = AV_PIX_FMT_RGB24;
    const int error = av_frame_get_buffer(rgb_.get(), 0);
    if (error < 0) {
      scaler_.reset();
      return LibavStatus(error, absl::StatusCode::kResourceExhausted, "converting a video frame");
    }
    width_ = frame.width;
    height_ = frame.height;
    format_ = frame.format;
    matrix_ = frame.colorspace;
    range_ = frame.color_range;
    return absl::OkStatus();
  }

  // Those sws_getCoefficients has a table for.
  static bool IsKnown(AVColorSpace space) {
    switch (space) {
      case AVCOL_SPC_BT709:
      case AVCOL_SPC_FCC:
      case AVCOL_SPC_BT470BG:
      case AVCOL_SPC_SMPTE170M:
      case AVCOL_SPC_SMPTE240M:
      case AVCOL_SPC_BT2020_NCL:
      case AVCOL_SPC_BT2020_CL:
        return true;
      default:
        return false;
    }
  }

  LibavPtr<SwsContext> scaler_;
  LibavPtr<AVFrame> rgb_;
  int width_ = 0;
  int height_ = 0;
  int format_ = -1;
  AVColorSpace matrix_ = AVCOL_SPC_UNSPECIFIED;
  AVColorRange range_ = AVCOL_RANGE_UNSPECIFIED;
};

class LibavVideoReader final : public VideoReader {
 public:
  LibavVideoReader(std::string bytes, const VideoLimits& limits, bool goes_back)
      : bytes_(std::move(bytes)), limits_(limits), keeps_packets_(goes_back) {}

  absl::Status Init() {
    absl::StatusOr<std::unique_ptr<Demuxer>> demuxer = Demuxer::Open(bytes_, DemuxerLimits());
    if (!demuxer.ok()) return demuxer.status();
    demuxer_ = *std::move(demuxer);
    cut_off_ = FindCutOff(bytes_);
    stream_ = demuxer_->video();
    if (stream_ == nullptr) {
      return absl::InvalidArgumentError(demuxer_->audio() != nullptr
                                            ? "the file has sound but no video track"
                                            : "the file has no video track");
    }
    demuxer_->Select(stream_);
    clock_start_ = demuxer_->ClockStart(stream_->time_base);
    layout_ = ReadLayout(*stream_);
    FillInfo();
    absl::Status status = CheckHeader();
    if (status.ok()) status = OpenDecoder();
    if (!status.ok()) return status;

    packet_.reset(av_packet_alloc());
    frame_.reset(av_frame_alloc());
    if (packet_ == nullptr || frame_ == nullptr) {
      return absl::ResourceExhaustedError("opening the video: out of memory");
    }
    demuxer_->RestartWork();
    Advance();
    if (next_.has_value()) {
      info_.width = next_->image.width;
      info_.height = next_->image.height;
      return absl::OkStatus();
    }
    if (!end_.ok()) return end_;
    if (leading_error_ < 0) return Broken("damaged", LibavErrorText(leading_error_));
    return absl::InvalidArgumentError("the video has no frames");
  }

  const VideoInfo& info() const override { return info_; }
  const VideoReport& report() const override { return is_replay() ? seen_report_ : report_; }
  int64_t num_decoded() const override { return num_decoded_; }

  absl::StatusOr<std::optional<VideoFrame>> Next() override {
    if (!next_.has_value()) {
      if (!end_.ok()) return end_;
      return std::nullopt;
    }
    VideoFrame frame = *std::move(next_);
    next_.reset();
    demuxer_->RestartWork();
    Advance();
    if (next_.has_value()) frame.duration = next_->pts - frame.pts;
    last_duration_ = frame.duration;
    return frame;
  }

  absl::Status Skip(int count) override {
    for (int i = 0; i < count && next_.has_value(); ++i) {
      const int64_t pts = next_->pts, duration = next_->duration;
      next_.reset();
      demuxer_->RestartWork();
      // The last one is needed.
      unseen_ = i + 1 < count;
      Advance();
      unseen_ = false;
      last_duration_ = next_.has_value() ? next_->pts - pts : duration;
    }
    return next_.has_value() ? absl::OkStatus() : end_;
  }

  absl::StatusOr<bool> GoBack(int index) override {
    while (keeps_packets_ && index < static_cast<int>(seen_pts_.size())) {
      const size_t entry = EntryBefore(index);
      const int first = entry == 0 ? 0 : entries_[entry - 1].frame;
      Rewind(entry);
      demuxer_->RestartWork();
      unseen_ = first < index;
      Advance();
      unseen_ = false;
      if (next_.has_value() && next_->pts == seen_pts_[static_cast<size_t>(first)]) {
        if (absl::Status status = Skip(index - first); !status.ok()) return status;
        if (next_.has_value() && next_->pts == seen_pts_[static_cast<size_t>(index)]) return true;
      }
      if (!next_.has_value() && !end_.ok()) return end_;
      // The decoder does not begin there as it was promised to.
      if (entry == 0) break;
      entries_.erase(entries_.begin() + static_cast<ptrdiff_t>(entry) - 1);
    }
    return false;
  }

  int EntryFrame(int index) const override {
    const size_t entry = EntryBefore(index);
    return entry == 0 ? 0 : entries_[entry - 1].frame + FramesBefore();
  }

  std::string TakeFile() override {
    demuxer_.reset();
    next_.reset();
    end_ = absl::FailedPreconditionError("the video's file has been taken");
    keeps_packets_ = false;
    return std::move(bytes_);
  }

  absl::StatusOr<AudioTrack> ReadAudio() const override {
    if (demuxer_->audio() == nullptr) return AudioTrack{};
    return ReadAudioTrack(bytes_, DemuxerLimits());
  }

 private:
  Demuxer::Limits DemuxerLimits() const {
    return {limits_.max_pixels, limits_.max_streams, limits_.max_seconds_per_frame,
            limits_.max_duration_seconds};
  }

  void FillInfo() {
    const AVFormatContext& context = *demuxer_->context();
    const AVCodecParameters& codecpar = *stream_->codecpar;
    info_.time_base_num = stream_->time_base.num;
    info_.time_base_den = stream_->time_base.den;
    const AVRational rate = av_guess_frame_rate(demuxer_->context(), stream_, nullptr);
    if (rate.num > 0 && rate.den > 0) {
      info_.frame_rate_num = rate.num;
      info_.frame_rate_den = rate.den;
    }
    info_.num_frames_hint = stream_->nb_frames;
    if (stream_->duration != AV_NOPTS_VALUE && stream_->duration > 0) {
      info_.duration_seconds = static_cast<double>(stream_->duration) * av_q2d(stream_->time_base);
    } else if (context.duration != AV_NOPTS_VALUE && context.duration > 0) {
      info_.duration_seconds = static_cast<double>(context.duration) / AV_TIME_BASE;
    }
    info_.container = context.iformat->name;
    info_.codec = avcodec_get_name(codecpar.codec_id);
    const char* format = av_get_pix_fmt_name(static_cast<AVPixelFormat>(codecpar.format));
    info_.pixel_format = format == nullptr ? "" : format;
    if (codecpar.color_trc == AVCOL_TRC_SMPTE2084) info_.hdr_transfer = "PQ";
    if (codecpar.color_trc == AVCOL_TRC_ARIB_STD_B67) info_.hdr_transfer = "HLG";
    info_.rotation_degrees = layout_.degrees();
    const AVRational aspect = av_guess_sample_aspect_ratio(demuxer_->context(), stream_, nullptr);
    if (aspect.num > 0 && aspect.den > 0) {
      info_.pixel_aspect_num = aspect.num;
      info_.pixel_aspect_den = aspect.den;
    }
    info_.has_audio = demuxer_->audio() != nullptr;
    if (info_.has_audio)
      info_.audio_codec = avcodec_get_name(demuxer_->audio()->codecpar->codec_id);
  }

  // Refuses by what the header says, before a frame is decoded.
  absl::Status CheckHeader() const {
    absl::Status status = CheckSize(stream_->codecpar->width, stream_->codecpar->height);
    if (!status.ok()) return status;
    if (info_.num_frames_hint > limits_.max_frames) {
      return absl::ResourceExhaustedError(absl::StrCat("the video has ", info_.num_frames_hint,
                                                       " frames; at most ", limits_.max_frames,
                                                       " are accepted"));
    }
    if (info_.duration_seconds > limits_.max_duration_seconds) {
      return TooLong(info_.duration_seconds);
    }
    return absl::OkStatus();
  }

  absl::Status TooLong(double seconds) const {
    return absl::ResourceExhaustedError(
        absl::StrCat("the video lasts ", seconds, " seconds; at most ",
                     limits_.max_duration_seconds, " are accepted"));
  }

  absl::Status CheckSize(int width, int height) const {
    if (int64_t{width} * height <= limits_.max_pixels) return absl::OkStatus();
    return absl::ResourceExhaustedError(absl::StrCat("the video's frames have ", width, " x ",
                                                     height, " pixels; at most ",
                                                     limits_.max_pixels, " are accepted"));
  }

  absl::Status OpenDecoder() {
    const AVCodec* codec = avcodec_find_decoder(stream_->codecpar->codec_id);
    if (codec != nullptr) decoder_.reset(avcodec_alloc_context3(codec));
    if (decoder_ == nullptr) {
      return absl::InvalidArgumentError(
          absl::StrCat("video codec ", info_.codec, " is not supported"));
    }
    int error = avcodec_parameters_to_context(decoder_.get(), stream_->codecpar);
    decoder_->pkt_timebase = stream_->time_base;
    decoder_->thread_count = 1;
    decoder_->max_pixels = demuxer_->max_coded_pixels();
    decoder_->codec_whitelist = av_strdup(demuxer_->context()->codec_whitelist);
    if (error >= 0) error = avcodec_open2(decoder_.get(), codec, nullptr);
    if (error < 0) {
      return LibavStatus(error, absl::StatusCode::kInvalidArgument,
                         absl::StrCat("video codec ", info_.codec, " is not supported"));
    }
    return absl::OkStatus();
  }

  // Why the packets ended before they should have.
  struct Breakage {
    const char* what;  // "cut off" or "damaged"
    std::string why;
  };

  // With "N frames could be read".
  absl::Status Broken(const char* what, const std::string& why) const {
    return absl::InvalidArgumentError(absl::StrCat("the video is ", what, ": ", num_frames_,
                                                   num_frames_ == 1 ? " frame" : " frames",
                                                   " could be read; ", why));
  }

  // At the end of the packets, which av_read_frame told by `error`.
  std::optional<Breakage> FindBreakage(int error, bool is_partial) const {
    if (!cut_off_.empty()) return Breakage{"cut off", cut_off_};
    const int num_promised = avformat_index_get_entries_count(stream_);
    const bool has_whole_index = info_.container.starts_with("mov");
    if (has_whole_index && num_packets_ < num_promised) {
      return Breakage{"cut off", absl::StrCat("its index lists ", num_promised, " packets and ",
                                              num_packets_, " are there")};
    }
    if (is_partial) return Breakage{"cut off", "the next one is incomplete"};
    if (error != AVERROR_EOF) return Breakage{"damaged", LibavErrorText(error)};
    return std::nullopt;
  }

  // A packet with which decoding can begin.
  struct Entry {
    int frame = 0;      // that it holds
    size_t packet = 0;  // among packets_
    int64_t pts = 0;    // as stored
  };

  bool is_replay() const { return num_frames_ < static_cast<int>(seen_pts_.size()); }

  // How many frames before a frame are needed besides what the decoder needs.
  int FramesBefore() const { return report().num_deinterlaced > 0 ? 1 : 0; }

  // One more than the last entry from which `index` can be decoded; 0: the first packet.
  size_t EntryBefore(int index) const {
    const int frame = index - FramesBefore();
    const auto after =
        std::upper_bound(entries_.begin(), entries_.end(), frame,
                         [](int wanted, const Entry& entry) { return wanted < entry.frame; });
    return static_cast<size_t>(after - entries_.begin());
  }

  // Goes back to an entry as EntryBefore counts them: the frame there is the next to be decoded,
  // with everything as it was then.
  void Rewind(size_t entry) {
    const Entry to = entry == 0 ? Entry{} : entries_[entry - 1];
    if (!is_replay()) seen_report_ = report_;
    report_ = VideoReport{};
    avcodec_flush_buffers(decoder_.get());
    deinterlacer_ = Deinterlacer{};
    next_.reset();
    end_ = absl::OkStatus();
    num_fed_ = to.packet;
    num_frames_ = to.frame;
    from_pts_ = entry > 0 ? std::optional(to.pts) : std::nullopt;
    const auto pts = [this](int frame) { return seen_pts_[static_cast<size_t>(frame)]; };
    last_pts_ = to.frame > 0 ? pts(to.frame - 1) : 0;
    // Known is that of the frame before the one before.
    last_duration_ = to.frame > 1 ? pts(to.frame - 1) - pts(to.frame - 2) : 0;
  }

  // After an entry, pictures of the frames before it may come out, without what they refer to.
  bool IsBeforeEntry() {
    if (!from_pts_.has_value()) return false;
    if (frame_->pts == AV_NOPTS_VALUE || frame_->pts < *from_pts_) return true;
    from_pts_.reset();
    return false;
  }

  // Notes the frame that has just been taken, which was stored with `pts`.
  void Remember(int64_t pts, bool is_key) {
    const bool is_new = !is_replay();
    ++num_frames_;
    if (!is_new) {
      if (!is_replay()) report_ = seen_report_;
      return;
    }
    if (!keeps_packets_) return;
    seen_pts_.push_back(next_->pts);
    if (!is_key || pts == AV_NOPTS_VALUE) return;
    for (size_t i = 0; i < key_packets_.size(); ++i) {
      if (key_packets_[i].pts != pts) continue;
      entries_.push_back({num_frames_ - 1, key_packets_[i].packet, pts});
      key_packets_.erase(key_packets_.begin(),
                         key_packets_.begin() + static_cast<ptrdiff_t>(i) + 1);
      return;
    }
  }

  // Keeps packet_, the next one. A file may list one piece of itself many times.
  void KeepPacket() {
    constexpr int64_t kOverhead = 256, kSlack = int64_t{16} << 20;
    kept_bytes_ += packet_->size + kOverhead;
    LibavPtr<AVPacket> kept;
    if (kept_bytes_ <= static_cast<int64_t>(bytes_.size()) + kSlack) {
      kept.reset(av_packet_clone(packet_.get()));
    }
    if (kept == nullptr) {
      keeps_packets_ = false;
      packets_.clear();
      num_fed_ = 0;
      return;
    }
    if ((kept->flags & AV_PKT_FLAG_KEY) != 0 && kept->pts != AV_NOPTS_VALUE) {
      key_packets_.push_back({.packet = packets_.size(), .pts = kept->pts});
    }
    packets_.push_back(std::move(kept));
    num_fed_ = packets_.size();
  }

  // Fills next_ with the next frame; or leaves it empty and sets end_ to why: OK at a proper end.
  void Advance() {
    absl::StatusOr<bool> has_frame = Decode();
    while (has_frame.ok() && *has_frame && IsBeforeEntry()) {
      av_frame_unref(frame_.get());
      has_frame = Decode();
    }
    if (has_frame.ok() && *has_frame) {
      const int64_t pts = frame_->pts;
      const bool is_key = frame_->key_frame != 0;
      absl::StatusOr<VideoFrame> frame = Take();
      if (frame.ok()) {
        next_ = *std::move(frame);
        Remember(pts, is_key);
        return;
      }
      end_ = frame.status();
      return;
    }
    if (!has_frame.ok()) {
      end_ = has_frame.status();
    } else if (breakage_.has_value()) {
      end_ = Broken(breakage_->what, breakage_->why);
    }
  }

  // Decodes into frame_. False at the end.
  absl::StatusOr<bool> Decode() {
    while (true) {
      absl::Status work = demuxer_->CheckWork(absl::StrCat("decoding frame ", num_frames_));
      if (!work.ok()) return work;
      const int received = avcodec_receive_frame(decoder_.get(), frame_.get());
      if (received == 0) {
        ++num_decoded_;
        return true;
      }
      if (received == AVERROR_EOF) return false;
      if (received != AVERROR(EAGAIN)) {
        absl::Status status = Damaged(received);
        if (!status.ok()) return status;
        continue;
      }
      absl::Status status = Feed();
      if (!status.ok()) return status;
    }
  }

  // An error of the decoder: what it was given is left out. Before the first frame it may only mean
  // that the recording starts between two key frames.
  absl::Status Damaged(int error) {
    if (error == AVERROR(ENOMEM)) {
      return LibavStatus(error, absl::StatusCode::kResourceExhausted,
                         absl::StrCat("decoding frame ", num_frames_));
    }
    if (num_frames_ > 0) {
      ++report_.num_damaged_packets;
      return absl::OkStatus();
    }
    absl::Status size = CheckSize(decoder_->width, decoder_->height);
    if (!size.ok()) return size;
    leading_error_ = error;
    if (++report_.num_leading_packets <= kMaxLeadingErrors) return absl::OkStatus();
    return Broken("damaged", LibavErrorText(error));
  }

  // Gives the decoder its next packet, or tells it that there is none.
  absl::Status Feed() {
    if (num_fed_ < packets_.size()) return Send(packets_[num_fed_++].get());
    if (packets_ended_) return Send(nullptr);
    while (true) {
      const int error = demuxer_->ReadPacket(*packet_, report_.num_damaged_packets);
      const bool is_broadcast = info_.container == "mpegts";
      const bool is_partial =
          error >= 0 && (packet_->flags & AV_PKT_FLAG_CORRUPT) != 0 && !is_broadcast;
      if (error < 0 || (is_partial && packet_->stream_index == stream_->index)) {
        av_packet_unref(packet_.get());
        breakage_ = FindBreakage(error, is_partial);
        packets_ended_ = true;
        // The frames still inside the decoder come out before it is reported.
        return Send(nullptr);
      }
      if (packet_->stream_index != stream_->index) {
        av_packet_unref(packet_.get());
        continue;
      }
      ++num_packets_;
      if (keeps_packets_) KeepPacket();
      absl::Status status = Send(packet_.get());
      av_packet_unref(packet_.get());
      return status;
    }
  }

  absl::Status Send(const AVPacket* packet) {
    const int error = avcodec_send_packet(decoder_.get(), packet);
    if (error >= 0 || error == AVERROR_EOF) return absl::OkStatus();
    return Damaged(error);
  }

  // frame_ as a VideoFrame; its duration is the container's word until the next frame is known.
  absl::StatusOr<VideoFrame> Take() {
    if (num_frames_ >= limits_.max_frames) {
      return absl::ResourceExhaustedError(
          absl::StrCat("the video has more than ", limits_.max_frames, " frames"));
    }
    absl::Status size = CheckSize(frame_->width, frame_->height);
    if (!size.ok()) return size;
    if (num_frames_ == 0) {
      stored_width_ = frame_->width;
      stored_height_ = frame_->height;
    }
    if (frame_->width != stored_width_ || frame_->height != stored_height_) ++report_.num_resized;
    const bool is_guessed =
        frame_->decode_error_flags != 0 || (frame_->flags & AV_FRAME_FLAG_CORRUPT) != 0;
    if (is_guessed) ++report_.num_concealed;
    // It looks at the frame before, so it must see them all.
    absl::StatusOr<bool> deinterlaced = deinterlacer_.Apply(frame_);
    if (!deinterlaced.ok()) return deinterlaced.status();
    if (*deinterlaced) ++report_.num_deinterlaced;
    VideoFrame frame;
    if (!unseen_) {
      absl::StatusOr<Image> image =
          converter_.Convert(*frame_, stored_width_, stored_height_, layout_);
      if (!image.ok()) {
        return absl::Status(image.status().code(),
                            absl::StrCat("frame ", num_frames_, ": ", image.status().message()));
      }
      frame.image = *std::move(image);
    }
    frame.duration = Duration();
    frame.pts = Time(frame.duration);
    last_pts_ = frame.pts;
    if (num_frames_ == 0) first_pts_ = frame.pts;
    av_frame_unref(frame_.get());
    const double seconds = static_cast<double>(frame.pts - first_pts_) * av_q2d(stream_->time_base);
    if (seconds > limits_.max_duration_seconds) return TooLong(seconds);
    return frame;
  }

  int64_t Duration() const {
    if (frame_->pkt_duration > 0) return std::min(frame_->pkt_duration, kLongestFrame);
    if (last_duration_ > 0) return last_duration_;
    if (info_.frame_rate_num > 0) {
      const AVRational rate{info_.frame_rate_num, info_.frame_rate_den};
      return std::max<int64_t>(1, av_rescale_q(1, av_inv_q(rate), stream_->time_base));
    }
    return 1;
  }

  // The frame's time, strictly later than the last one's.
  int64_t Time(int64_t duration) {
    const bool is_known = IsPlausibleTime(frame_->best_effort_timestamp);
    const int64_t pts = is_known ? frame_->best_effort_timestamp - clock_start_ : 0;
    if (num_frames_ == 0) {
      if (!is_known) ++report_.num_repaired_timestamps;
      return pts;
    }
    if (is_known && pts > last_pts_) return pts;
    ++report_.num_repaired_timestamps;
    const bool is_close = is_known && last_pts_ - pts < duration;
    return last_pts_ + (is_close ? 1 : duration);
  }

  // Ticks; more than any clock needs, few enough for sums not to overflow.
  static constexpr int64_t kLongestFrame = int64_t{1} << 40;

  // A broadcast recording may begin this many packets before its first key frame.
  static constexpr int kMaxLeadingErrors = 500;

  std::string bytes_;
  const VideoLimits limits_;
  std::unique_ptr<Demuxer> demuxer_;
  std::string cut_off_;
  AVStream* stream_ = nullptr;  // owned by demuxer_
  int64_t clock_start_ = 0;
  Layout layout_;
  VideoInfo info_;
  LibavPtr<AVCodecContext> decoder_;
  LibavPtr<AVPacket> packet_;
  LibavPtr<AVFrame> frame_;
  Deinterlacer deinterlacer_;
  RgbConverter converter_;
  int stored_width_ = 0;  // of the first frame; later ones are scaled to it
  int stored_height_ = 0;

  std::optional<VideoFrame> next_;    // one ahead, to know the duration of the one before
  bool unseen_ = false;               // the next one's picture will not be asked for
  absl::Status end_;                  // why there is no next_
  std::optional<Breakage> breakage_;  // to be reported once the decoder is empty
  int num_frames_ = 0;                // decoded, next_ included
  int num_packets_ = 0;
  int leading_error_ = 0;
  VideoReport report_;
  int64_t first_pts_ = 0;
  int64_t last_pts_ = 0;
  int64_t last_duration_ = 0;
  int64_t num_decoded_ = 0;

  // For GoBack. Frames are replayed while there are fewer than in seen_pts_.
  bool keeps_packets_;
  std::vector<LibavPtr<AVPacket>> packets_;  // of the track, from the first on
  size_t num_fed_ = 0;                       // of those, given to the decoder
  bool packets_ended_ = false;               // there are no others
  int64_t kept_bytes_ = 0;
  std::vector<Entry> key_packets_;  // whose frames have not come yet; frame is not known
  std::vector<Entry> entries_;
  std::vector<int64_t> seen_pts_;
  VideoReport seen_report_;          // while frames are replayed
  std::optional<int64_t> from_pts_;  // frames before it are left out
};

}  // namespace

std::vector<std::string> DescribeReport(const VideoInfo& info, const VideoReport& report,
                                        const std::string& what) {
  std::vector<std::string> notes;
  const auto add = [&](int count, const char* unit, const char* one, const char* many,
                       const std::string& rest) {
    if (count == 0) return;
    const bool is_one = count == 1;
    notes.push_back(absl::StrCat(count, " ", unit, is_one ? "" : "s", " of the ", what, " ",
                                 is_one ? one : many, rest));
  };
  add(report.num_repaired_timestamps, "frame", "had", "had", " a missing or backward time stamp");
  add(report.num_damaged_packets, "packet", "does", "do",
      " not decode; the frame before is shown longer");
  add(report.num_leading_packets, "packet", "lies", "lie",
      " before the first frame that can be decoded");
  add(report.num_concealed, "frame", "is", "are", " damaged; the missing parts are guessed");
  add(report.num_deinterlaced, "frame", "was", "were", " interlaced and deinterlaced");
  add(report.num_resized, "frame", "has", "have",
      absl::StrCat(" another size than the first, scaled to ", info.width, " x ", info.height));
  if (!info.hdr_transfer.empty()) {
    notes.push_back(absl::StrCat("the ", what, " is in high dynamic range (", info.hdr_transfer,
                                 "), which is not tone-mapped"));
  }
  return notes;
}

absl::StatusOr<std::unique_ptr<VideoReader>> VideoReader::Open(std::string bytes,
                                                               const VideoLimits& limits,
                                                               bool goes_back) {
  auto reader = std::make_unique<LibavVideoReader>(std::move(bytes), limits, goes_back);
  absl::Status status = reader->Init();
  if (!status.ok()) return status;
  return reader;
}

}  // namespace reenact
