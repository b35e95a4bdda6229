#include "pipeline/media/audio_transcode.h"

extern "C" {
#include <libavutil/audio_fifo.h>
#include <libavutil/channel_layout.h>
#include <libavutil/mem.h>
#include <libavutil/samplefmt.h>
#include <libswresample/swresample.h>
}

#include <algorithm>
#include <cmath>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"

namespace reenact {
namespace {

constexpr int kBitsPerChannel = 64'000;
constexpr int kOtherRate = 48'000;  // for rates that AAC does not have
// Time stamps closer than this to where the sound is belong there: containers round them.
constexpr double kJitterSeconds = 0.01;

struct SwrDeleter {
  void operator()(SwrContext* p) const { swr_free(&p); }
};
struct FifoDeleter {
  void operator()(AVAudioFifo* p) const { av_audio_fifo_free(p); }
};

bool AacHasRate(int rate) {
  for (const int known :
       {96000, 88200, 64000, 48000, 44100, 32000, 24000, 22050, 16000, 12000, 11025, 8000, 7350}) {
    if (rate == known) return true;
  }
  return false;
}

// Planar float samples in, AAC packets out.
class AacEncoder {
 public:
  absl::Status Open(int sample_rate, int channels) {
    const AVCodec* codec = avcodec_find_encoder_by_name("aac");
    if (codec != nullptr) encoder_.reset(avcodec_alloc_context3(codec));
    if (encoder_ == nullptr) return absl::InternalError("the AAC encoder is not available");
    encoder_->sample_fmt = AV_SAMPLE_FMT_FLTP;
    encoder_->sample_rate = sample_rate;
    av_channel_layout_default(&encoder_->ch_layout, channels);
    encoder_->bit_rate = int64_t{kBitsPerChannel} * channels;
    encoder_->time_base = {1, sample_rate};
    encoder_->thread_count = 1;
    encoder_->flags |= AV_CODEC_FLAG_GLOBAL_HEADER | AV_CODEC_FLAG_BITEXACT;
    const int error = avcodec_open2(encoder_.get(), codec, nullptr);
    if (error < 0) {
      return LibavStatus(error, absl::StatusCode::kInternal, "opening the AAC encoder");
    }
    fifo_.reset(av_audio_fifo_alloc(AV_SAMPLE_FMT_FLTP, channels, 2 * encoder_->frame_size));
    frame_.reset(av_frame_alloc());
    packet_.reset(av_packet_alloc());
    parameters_ = std::make_shared<AudioParameters>();
    parameters_->codecpar.reset(avcodec_parameters_alloc());
    if (fifo_ == nullptr || frame_ == nullptr || packet_ == nullptr ||
        parameters_->codecpar == nullptr ||
        avcodec_parameters_from_context(parameters_->codecpar.get(), encoder_.get()) < 0) {
      return absl::ResourceExhaustedError("opening the AAC encoder: out of memory");
    }
    track_.codec = "aac";
    track_.sample_rate = sample_rate;
    track_.channels = channels;
    track_.time_base_num = 1;
    track_.time_base_den = sample_rate;
    track_.parameters = parameters_;
    return absl::OkStatus();
  }

  const AVCodecContext& context() const { return *encoder_; }

  // The position of the next sample, in samples; set once, before the first.
  int64_t position() const { return position_; }
  void SetStart(int64_t position) { position_ = next_frame_ = position; }

  absl::Status Add(uint8_t* const* planes, int count) {
    if (av_audio_fifo_write(fifo_.get(), reinterpret_cast<void**>(const_cast<uint8_t**>(planes)),
                            count) != count) {
      return absl::ResourceExhaustedError("transcoding the sound: out of memory");
    }
    position_ += count;
    while (av_audio_fifo_size(fifo_.get()) >= encoder_->frame_size) {
      absl::Status status = EncodeFrame(encoder_->frame_size);
      if (!status.ok()) return status;
    }
    return absl::OkStatus();
  }

  absl::Status AddSilence(int64_t count) {
    constexpr int kPiece = 1024;
    LibavPtr<AVFrame> silence(av_frame_alloc());
    if (silence == nullptr || !Shape(*silence, kPiece)) {
      return absl::ResourceExhaustedError("transcoding the sound: out of memory");
    }
    av_samples_set_silence(silence->data, 0, kPiece, track_.channels, AV_SAMPLE_FMT_FLTP);
    while (count > 0) {
      const int piece = static_cast<int>(std::min<int64_t>(count, kPiece));
      absl::Status status = Add(silence->data, piece);
      if (!status.ok()) return status;
      count -= piece;
    }
    return absl::OkStatus();
  }

  absl::StatusOr<AudioTrack> Finish() {
    if (const int left = av_audio_fifo_size(fifo_.get()); left > 0) {
      absl::Status status = EncodeFrame(left);
      if (!status.ok()) return status;
    }
    absl::Status status = Send(nullptr);
    if (!status.ok()) return status;
    return std::move(track_);
  }

 private:
  bool Shape(AVFrame& frame, int count) const {
    frame.nb_samples = count;
    frame.format = AV_SAMPLE_FMT_FLTP;
    frame.sample_rate = track_.sample_rate;
    return av_channel_layout_copy(&frame.ch_layout, &encoder_->ch_layout) >= 0 &&
           av_frame_get_buffer(&frame, 0) >= 0;
  }

  absl::Status EncodeFrame(int count) {
    av_frame_unref(frame_.get());
    if (!Shape(*frame_, count) ||
        av_audio_fifo_read(fifo_.get(), reinterpret_cast<void**>(frame_->data), count) != count) {
      return absl::ResourceExhaustedError("transcoding the sound: out of memory");
    }
    frame_->pts = next_frame_;
    next_frame_ += count;
    return Send(frame_.get());
  }

  absl::Status Send(const AVFrame* frame) {
    int error = avcodec_send_frame(encoder_.get(), frame);
    while (error >= 0) {
      error = avcodec_receive_packet(encoder_.get(), packet_.get());
      if (error < 0) break;
      AudioPacket packet;
      packet.data.assign(reinterpret_cast<const char*>(packet_->data),
                         static_cast<size_t>(packet_->size));
      packet.pts = packet_->pts;
      packet.dts = packet_->pts;
      packet.duration = std::max<int64_t>(packet_->duration, 0);
      track_.packets.push_back(std::move(packet));
      av_packet_unref(packet_.get());
    }
    if (error == AVERROR(EAGAIN) || error == AVERROR_EOF) return absl::OkStatus();
    return LibavStatus(error, absl::StatusCode::kInternal, "encoding AAC");
  }

  LibavPtr<AVCodecContext> encoder_;
  std::unique_ptr<AVAudioFifo, FifoDeleter> fifo_;
  LibavPtr<AVFrame> frame_;
  LibavPtr<AVPacket> packet_;
  std::shared_ptr<AudioParameters> parameters_;
  AudioTrack track_;
  int64_t position_ = 0;    // samples taken, counted from time 0
  int64_t next_frame_ = 0;  // of them, given to the encoder
};

class Transcoder {
 public:
  Transcoder(Demuxer& demuxer, const Demuxer::Limits& limits)
      : demuxer_(demuxer), stream_(*demuxer.audio()), limits_(limits) {}

  absl::StatusOr<AudioTrack> Run() {
    absl::Status status = OpenDecoder();
    if (!status.ok()) return status;
    const int64_t clock_start = demuxer_.ClockStart(stream_.time_base);
    LibavPtr<AVPacket> packet(av_packet_alloc());
    frame_.reset(av_frame_alloc());
    if (packet == nullptr || frame_ == nullptr) {
      return absl::ResourceExhaustedError("transcoding the sound: out of memory");
    }
    bool is_over = false;
    while (!is_over) {
      demuxer_.RestartWork();
      // Where the container cannot be read on the sound ends, as it does where packets are copied.
      is_over = demuxer_.ReadPacket(*packet, num_damaged_) < 0;
      if (!is_over && packet->stream_index != stream_.index) {
        av_packet_unref(packet.get());
        continue;
      }
      const int sent = avcodec_send_packet(decoder_.get(), is_over ? nullptr : packet.get());
      av_packet_unref(packet.get());
      if (sent == AVERROR(ENOMEM)) {
        return absl::ResourceExhaustedError("decoding the sound: out of memory");
      }
      if (sent < 0 && sent != AVERROR_EOF) ++num_damaged_;
      while (true) {
        const int received = avcodec_receive_frame(decoder_.get(), frame_.get());
        if (received == AVERROR(EAGAIN) || received == AVERROR_EOF) break;
        if (received < 0) {
          ++num_damaged_;
          break;
        }
        status = Take(clock_start);
        av_frame_unref(frame_.get());
        if (!status.ok()) return status;
      }
      status = demuxer_.CheckWork("decoding the sound");
      if (!status.ok()) return status;
      if (has_sound_ && encoder_.position() >= max_position_) is_over = true;
    }
    if (!has_sound_) {
      return absl::InvalidArgumentError(absl::StrCat(
          "audio codec ", avcodec_get_name(stream_.codecpar->codec_id), " does not decode"));
    }
    status = Drain();
    if (!status.ok()) return status;
    return encoder_.Finish();
  }

  int num_damaged() const { return num_damaged_; }

 private:
  absl::Status OpenDecoder() {
    const AVCodec* codec = avcodec_find_decoder(stream_.codecpar->codec_id);
    if (codec != nullptr) decoder_.reset(avcodec_alloc_context3(codec));
    if (decoder_ == nullptr) {
      return absl::InvalidArgumentError(absl::StrCat(
          "audio codec ", avcodec_get_name(stream_.codecpar->codec_id), " is not supported"));
    }
    int error = avcodec_parameters_to_context(decoder_.get(), stream_.codecpar);
    decoder_->pkt_timebase = stream_.time_base;
    decoder_->thread_count = 1;
    decoder_->codec_whitelist = av_strdup(demuxer_.context()->codec_whitelist);
    if (error >= 0) error = avcodec_open2(decoder_.get(), codec, nullptr);
    if (error < 0) {
      return LibavStatus(
          error, absl::StatusCode::kInvalidArgument,
          absl::StrCat("audio codec ", avcodec_get_name(stream_.codecpar->codec_id)));
    }
    return absl::OkStatus();
  }

  // The first frame decides rate and channels of the output.
  absl::Status OpenEncoder(int64_t clock_start) {
    const int rate = AacHasRate(frame_->sample_rate) ? frame_->sample_rate : kOtherRate;
    const int channels = std::clamp(frame_->ch_layout.nb_channels, 1, 2);
    absl::Status status = encoder_.Open(rate, channels);
    if (!status.ok()) return status;
    const double start = Seconds(clock_start).value_or(0);
    encoder_.SetStart(std::llround(start * rate));
    max_position_ = encoder_.position() + std::llround(limits_.max_duration_seconds * rate);
    has_sound_ = true;
    return absl::OkStatus();
  }

  // When frame_ begins, if it says so.
  std::optional<double> Seconds(int64_t clock_start) const {
    constexpr double kFar = 1e7;
    if (!IsPlausibleTime(frame_->best_effort_timestamp)) return std::nullopt;
    const double seconds = static_cast<double>(frame_->best_effort_timestamp - clock_start) *
                           av_q2d(stream_.time_base);
    return std::abs(seconds) < kFar ? std::optional<double>(seconds) : std::nullopt;
  }

  absl::Status OpenResampler() {
    if (resampler_ != nullptr && frame_->sample_rate == in_rate_ && frame_->format == in_format_ &&
        frame_->ch_layout.nb_channels == in_channels_) {
      return absl::OkStatus();
    }
    absl::Status status = Drain();
    if (!status.ok()) return status;
    if (frame_->ch_layout.order == AV_CHANNEL_ORDER_UNSPEC) {
      av_channel_layout_default(&frame_->ch_layout, frame_->ch_layout.nb_channels);
    }
    AVChannelLayout out_layout = encoder_.context().ch_layout;  // 1 or 2 channels: plain data
    SwrContext* resampler = nullptr;
    const int error = swr_alloc_set_opts2(&resampler, &out_layout, AV_SAMPLE_FMT_FLTP,
                                          encoder_.context().sample_rate, &frame_->ch_layout,
                                          static_cast<AVSampleFormat>(frame_->format),
                                          frame_->sample_rate, 0, nullptr);
    resampler_.reset(resampler);
    if (error < 0 || swr_init(resampler) < 0) {
      return absl::InvalidArgumentError(absl::StrCat("sound of ", frame_->ch_layout.nb_channels,
                                                     " channels at ", frame_->sample_rate,
                                                     " Hz cannot be converted"));
    }
    in_rate_ = frame_->sample_rate;
    in_format_ = frame_->format;
    in_channels_ = frame_->ch_layout.nb_channels;
    return absl::OkStatus();
  }

  // Brings frame_ to its place.
  absl::Status Take(int64_t clock_start) {
    if (frame_->nb_samples <= 0 || frame_->sample_rate <= 0 || frame_->ch_layout.nb_channels <= 0) {
      return absl::OkStatus();
    }
    absl::Status status = has_sound_ ? absl::OkStatus() : OpenEncoder(clock_start);
    if (status.ok()) status = OpenResampler();
    if (!status.ok()) return status;
    const int rate = encoder_.context().sample_rate;
    if (const auto seconds = Seconds(clock_start); seconds.has_value()) {
      const int64_t now =
          encoder_.position() + swr_get_delay(resampler_.get(), encoder_.context().sample_rate);
      const int64_t gap = std::llround(*seconds * rate) - now;
      const int64_t jitter = std::llround(kJitterSeconds * rate);
      // A gap beyond all limits is a damaged time stamp.
      if (gap > jitter && now + gap <= max_position_) {
        status = Drain();
        if (status.ok()) status = encoder_.AddSilence(gap);
        if (status.ok()) status = OpenResampler();
      } else if (gap < -jitter) {
        skip_ = std::min<int64_t>(-gap, int64_t{rate} * frame_->nb_samples / frame_->sample_rate);
      }
      if (!status.ok()) return status;
    }
    return Resample(frame_->extended_data, frame_->nb_samples);
  }

  // What the resampler still holds; it cannot be used after that.
  absl::Status Drain() {
    if (resampler_ == nullptr) return absl::OkStatus();
    absl::Status status = Resample(nullptr, 0);
    resampler_.reset();
    return status;
  }

  // Samples through the resampler into the encoder, less the skip_ first ones.
  absl::Status Resample(uint8_t** samples, int count) {
    const int64_t expected = swr_get_out_samples(resampler_.get(), count);
    if (expected <= 0) return absl::OkStatus();
    LibavPtr<AVFrame> out(av_frame_alloc());
    if (out == nullptr) return absl::ResourceExhaustedError("transcoding the sound: out of memory");
    out->nb_samples = static_cast<int>(expected);
    out->format = AV_SAMPLE_FMT_FLTP;
    if (av_channel_layout_copy(&out->ch_layout, &encoder_.context().ch_layout) < 0 ||
        av_frame_get_buffer(out.get(), 0) < 0) {
      return absl::ResourceExhaustedError("transcoding the sound: out of memory");
    }
    const int made = swr_convert(resampler_.get(), out->data, static_cast<int>(expected),
                                 const_cast<const uint8_t**>(samples), count);
    if (made < 0) return LibavStatus(made, absl::StatusCode::kInternal, "converting the sound");
    const int skipped = static_cast<int>(std::min<int64_t>(skip_, made));
    skip_ -= skipped;
    uint8_t* planes[2] = {out->data[0], out->data[1]};
    for (uint8_t*& plane : planes) {
      if (plane != nullptr) plane += skipped * sizeof(float);
    }
    if (made > skipped) return encoder_.Add(planes, made - skipped);
    return absl::OkStatus();
  }

  Demuxer& demuxer_;
  const AVStream& stream_;
  const Demuxer::Limits limits_;
  LibavPtr<AVCodecContext> decoder_;
  LibavPtr<AVFrame> frame_;
  AacEncoder encoder_;
  std::unique_ptr<SwrContext, SwrDeleter> resampler_;
  int in_rate_ = 0;
  int in_format_ = -1;
  int in_channels_ = 0;
  bool has_sound_ = false;
  int num_damaged_ = 0;
  int64_t max_position_ = 0;
  int64_t skip_ = 0;
};

}  // namespace

absl::StatusOr<AudioTrack> TranscodeAudioTrack(std::string_view bytes,
                                               const Demuxer::Limits& limits) {
  absl::StatusOr<std::unique_ptr<Demuxer>> demuxer = Demuxer::Open(bytes, limits);
  if (!demuxer.ok()) return demuxer.status();
  const AVStream* stream = (*demuxer)->audio();
  if (stream == nullptr) return absl::InvalidArgumentError("the file has no sound");
  (*demuxer)->Select(stream);
  const int channels = stream->codecpar->ch_layout.nb_channels;
  Transcoder transcoder(**demuxer, limits);
  absl::StatusOr<AudioTrack> track = transcoder.Run();
  if (!track.ok()) return track.status();
  track->transcoded_from = avcodec_get_name(stream->codecpar->codec_id);
  track->note = absl::StrCat(
      "audio codec ", track->transcoded_from, " does not fit MP4, transcoded to AAC at ",
      track->sample_rate, " Hz",
      channels > track->channels ? absl::StrCat(", mixed from ", channels, " channels to 2") : "");
  if (const std::string damage = DamageNote(transcoder.num_damaged()); !damage.empty()) {
    absl::StrAppend(&track->note, "; ", damage);
  }
  return track;
}

}  // namespace reenact
