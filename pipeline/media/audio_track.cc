#include "pipeline/media/audio_track.h"

extern "C" {
#include <libavcodec/bsf.h>
#include <libavcodec/codec_desc.h>
#include <libavutil/channel_layout.h>
#include <libavutil/dict.h>
#include <libavutil/mem.h>
#include <libavutil/samplefmt.h>
}

#include <algorithm>
#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"
#include "pipeline/media/audio_transcode.h"
#include "pipeline/media/libav.h"

namespace reenact {
namespace {

// Ticks; no packet of sound lasts that long.
constexpr int64_t kLongestPacket = int64_t{1} << 31;

// Whether what MP4 says of a codec can be written. FFmpeg's muxer fails late, and forgets memory,
// when the codec's own header is not there or not whole.
bool HasDescription(const AVCodecParameters& codecpar) {
  switch (codecpar.codec_id) {
    case AV_CODEC_ID_FLAC:
      return codecpar.extradata_size == 34;  // STREAMINFO
    case AV_CODEC_ID_OPUS: {
      // RFC 7845, 5.1: mapping families but 0 are followed by a table of the channels.
      if (codecpar.extradata_size < 19) return false;
      const int channels = std::max<int>(codecpar.extradata[9], codecpar.ch_layout.nb_channels);
      return codecpar.extradata[18] == 0 || codecpar.extradata_size >= 21 + channels;
    }
    case AV_CODEC_ID_ALAC:
      return codecpar.extradata_size >= 36;
    default:
      return true;
  }
}

// Whether MP4 can hold the track: all of it is written, and the beginning read back. So VideoWriter
// does not fail on it in the middle of a job, and players know the track.
bool FitsMp4(const AudioTrack& track, const AVCodecParameters& codecpar) {
  if (!HasDescription(codecpar)) return false;
  AVFormatContext* context = nullptr;
  if (avformat_alloc_output_context2(&context, nullptr, "mp4", nullptr) < 0) return false;
  bool fits = false;
  AVStream* stream = avformat_new_stream(context, nullptr);
  LibavPtr<AVPacket> packet(av_packet_alloc());
  std::string beginning;
  LibavPtr<AVIOContext> sink = OpenSink(&beginning, [](void* self, uint8_t* data, int size) {
    // The init segment comes first; sound after it need not be kept.
    constexpr size_t kEnough = 1 << 20;
    std::string& kept = *static_cast<std::string*>(self);
    if (kept.size() < kEnough) kept.append(reinterpret_cast<const char*>(data), size);
    return size;
  });
  if (stream != nullptr && packet != nullptr && sink != nullptr) {
    context->pb = sink.get();
    AVDictionary* options = nullptr;
    av_dict_set(&options, "movflags", kMp4Flags, 0);
    av_dict_set(&options, "strict", "experimental", 0);
    avcodec_parameters_copy(stream->codecpar, &codecpar);
    stream->time_base = {track.time_base_num, track.time_base_den};
    context->avoid_negative_ts = AVFMT_AVOID_NEG_TS_DISABLED;
    fits = avformat_write_header(context, &options) >= 0;
    if (fits) {
      for (size_t i = 0; i < track.packets.size() && fits; ++i) {
        fits = WriteAudioPacket(context, stream, track, i, /*shift=*/0, packet.get()) >= 0;
        const bool ends_fragment = i % 64 == 0;
        if (fits && ends_fragment) fits = av_write_frame(context, nullptr) >= 0;
      }
      fits = av_write_trailer(context) >= 0 && fits;
      avio_flush(sink.get());
    }
    av_dict_free(&options);
  }
  context->pb = nullptr;
  avformat_free_context(context);
  if (!fits) return false;
  constexpr Demuxer::Limits kLimits = {
      .max_pixels = 1, .max_streams = 1, .max_work_seconds = 10, .max_duration_seconds = 1};
  const absl::StatusOr<std::unique_ptr<Demuxer>> again = Demuxer::Open(beginning, kLimits);
  return again.ok() && (*again)->audio() != nullptr &&
         (*again)->audio()->codecpar->codec_id == codecpar.codec_id;
}

// AAC as broadcast has a header on every packet and none for the track; MP4 has it the other way
// round. Takes the header off each packet and puts what it says into `codecpar`; packets of all
// other kinds stay as they are.
class AdtsRemover {
 public:
  ~AdtsRemover() { av_bsf_free(&filter_); }

  // False: the packet cannot be used.
  bool Apply(AVCodecParameters& codecpar, AVPacket& packet) {
    const bool has_header =
        packet.size > 7 && packet.data[0] == 0xFF && (packet.data[1] & 0xF0) == 0xF0;
    if (codecpar.codec_id != AV_CODEC_ID_AAC || !has_header) return true;
    if (filter_ == nullptr) {
      const AVBitStreamFilter* kind = av_bsf_get_by_name("aac_adtstoasc");
      if (kind == nullptr || av_bsf_alloc(kind, &filter_) < 0) return false;
      if (avcodec_parameters_copy(filter_->par_in, &codecpar) < 0) return false;
      if (av_bsf_init(filter_) < 0) return false;
    }
    if (av_bsf_send_packet(filter_, &packet) < 0) return false;
    if (av_bsf_receive_packet(filter_, &packet) < 0) return false;
    size_t size = 0;
    const uint8_t* header = av_packet_get_side_data(&packet, AV_PKT_DATA_NEW_EXTRADATA, &size);
    if (header != nullptr && codecpar.extradata_size == 0) {
      codecpar.extradata = static_cast<uint8_t*>(av_mallocz(size + AV_INPUT_BUFFER_PADDING_SIZE));
      if (codecpar.extradata == nullptr) return false;
      std::memcpy(codecpar.extradata, header, size);
      codecpar.extradata_size = static_cast<int>(size);
    }
    return true;
  }

 private:
  AVBSFContext* filter_ = nullptr;
};

absl::Status Malformed(const std::string& field, const std::string& value) {
  return absl::InvalidArgumentError(
      absl::StrCat("the sound's ", field, " is \"", value, "\", which is not known"));
}

}  // namespace

std::string DamageNote(int num_packets) {
  if (num_packets == 0) return "";
  return num_packets == 1
             ? "1 packet of the sound was damaged and left out"
             : absl::StrCat(num_packets, " packets of the sound were damaged and left out");
}

int WriteAudioPacket(AVFormatContext* muxer, AVStream* stream, const AudioTrack& track,
                     size_t index, int64_t shift, AVPacket* scratch) {
  const AudioPacket& packet = track.packets[index];
  const int error = av_new_packet(scratch, static_cast<int>(packet.data.size()));
  if (error < 0) return error;
  std::memcpy(scratch->data, packet.data.data(), packet.data.size());
  const AVRational clock{track.time_base_num, track.time_base_den};
  const auto in_stream = [&](int64_t time) {
    return av_rescale_q(time + shift, clock, stream->time_base);
  };
  scratch->pts = in_stream(packet.pts);
  scratch->dts = in_stream(packet.dts);
  // The muxer sums durations over the fragments, so each must end where the next packet begins,
  // rounding included.
  const bool is_last = index + 1 == track.packets.size();
  scratch->duration = is_last ? av_rescale_q(packet.duration, clock, stream->time_base)
                              : in_stream(track.packets[index + 1].dts) - scratch->dts;
  scratch->flags |= AV_PKT_FLAG_KEY;
  scratch->stream_index = stream->index;
  const int written = av_write_frame(muxer, scratch);
  av_packet_unref(scratch);
  return written;
}

absl::StatusOr<AudioTrack> ReadAudioTrack(std::string_view bytes, const Demuxer::Limits& limits) {
  absl::StatusOr<std::unique_ptr<Demuxer>> demuxer = Demuxer::Open(bytes, limits);
  if (!demuxer.ok()) return demuxer.status();
  AudioTrack track;
  const AVStream* stream = (*demuxer)->audio();
  if (stream == nullptr) return track;
  (*demuxer)->Select(stream);

  auto parameters = std::make_shared<AudioParameters>();
  parameters->codecpar.reset(avcodec_parameters_alloc());
  LibavPtr<AVPacket> packet(av_packet_alloc());
  if (parameters->codecpar == nullptr || packet == nullptr ||
      avcodec_parameters_copy(parameters->codecpar.get(), stream->codecpar) < 0) {
    return absl::ResourceExhaustedError("reading the audio track: out of memory");
  }
  AVCodecParameters& codecpar = *parameters->codecpar;
  codecpar.codec_tag = 0;  // the source container's; MP4 has its own
  track.codec = avcodec_get_name(codecpar.codec_id);
  track.sample_rate = codecpar.sample_rate;
  track.channels = codecpar.ch_layout.nb_channels;
  track.time_base_num = stream->time_base.num;
  track.time_base_den = stream->time_base.den;
  const int64_t clock_start = (*demuxer)->ClockStart(stream->time_base);

  AdtsRemover remover;
  size_t num_bytes = 0;
  int64_t next_dts = 0;
  int num_damaged = 0;
  // Where the container cannot be read on the sound ends; the pictures' reader is the one to
  // complain.
  while ((*demuxer)->RestartWork(), (*demuxer)->ReadPacket(*packet, num_damaged) >= 0) {
    if (packet->stream_index != stream->index || packet->size == 0) {
      av_packet_unref(packet.get());
      continue;
    }
    if ((packet->flags & AV_PKT_FLAG_CORRUPT) != 0 || !remover.Apply(codecpar, *packet)) {
      ++num_damaged;
    } else {
      if (!IsPlausibleTime(packet->dts)) packet->dts = packet->pts;
      if (!IsPlausibleTime(packet->dts)) packet->dts = next_dts + clock_start;
      if (!IsPlausibleTime(packet->pts)) packet->pts = packet->dts;
      packet->pts -= clock_start;
      packet->dts -= clock_start;
      // MP4 needs increasing times.
      if (!track.packets.empty()) {
        packet->dts = std::max(packet->dts, track.packets.back().dts + 1);
        packet->pts = std::max(packet->pts, packet->dts);
      }
      AudioPacket copy;
      copy.data.assign(reinterpret_cast<const char*>(packet->data),
                       static_cast<size_t>(packet->size));
      copy.pts = packet->pts;
      copy.dts = packet->dts;
      copy.duration = std::clamp<int64_t>(packet->duration, 0, kLongestPacket);
      next_dts = copy.dts + copy.duration;
      num_bytes += copy.data.size();
      track.packets.push_back(std::move(copy));
    }
    // An index can name the same bytes a million times.
    if (num_bytes > bytes.size()) {
      track.packets.clear();
      track.note = "the audio track is damaged, left out";
      return track;
    }
    av_packet_unref(packet.get());
  }
  if (track.packets.empty()) {
    track.note = absl::StrCat("the audio track (", track.codec, ") holds no packets, left out");
    return track;
  }
  track.note = DamageNote(num_damaged);
  if (!FitsMp4(track, codecpar)) {
    absl::StatusOr<AudioTrack> transcoded = TranscodeAudioTrack(bytes, limits);
    if (transcoded.ok()) return transcoded;
    if (!absl::IsInvalidArgument(transcoded.status())) return transcoded.status();
    track.packets.clear();
    track.note = absl::StrCat("audio codec ", track.codec, " does not fit MP4, left out (",
                              transcoded.status().message(), ")");
    return track;
  }
  track.parameters = std::move(parameters);
  return track;
}

AudioDescription DescribeAudio(const AudioTrack& track) {
  const AVCodecParameters& codecpar = *track.parameters->codecpar;
  AudioDescription description;
  description.codec = avcodec_get_name(codecpar.codec_id);
  char layout[128] = "";
  if (codecpar.ch_layout.nb_channels > 0 &&
      av_channel_layout_describe(&codecpar.ch_layout, layout, sizeof(layout)) > 0) {
    description.channel_layout = layout;
  }
  const char* format = av_get_sample_fmt_name(static_cast<AVSampleFormat>(codecpar.format));
  if (format != nullptr) description.sample_format = format;
  if (codecpar.extradata_size > 0) {
    description.extradata.assign(reinterpret_cast<const char*>(codecpar.extradata),
                                 static_cast<size_t>(codecpar.extradata_size));
  }
  description.bit_rate = codecpar.bit_rate;
  description.sample_rate = codecpar.sample_rate;
  description.bits_per_coded_sample = codecpar.bits_per_coded_sample;
  description.bits_per_raw_sample = codecpar.bits_per_raw_sample;
  description.profile = codecpar.profile;
  description.level = codecpar.level;
  description.block_align = codecpar.block_align;
  description.frame_size = codecpar.frame_size;
  description.initial_padding = codecpar.initial_padding;
  description.trailing_padding = codecpar.trailing_padding;
  description.seek_preroll = codecpar.seek_preroll;
  return description;
}

absl::Status RestoreAudio(const AudioDescription& description, AudioTrack* track) {
  InitLibav();
  const AVCodecDescriptor* codec = avcodec_descriptor_get_by_name(description.codec.c_str());
  if (codec == nullptr || codec->type != AVMEDIA_TYPE_AUDIO) {
    return Malformed("codec", description.codec);
  }
  auto parameters = std::make_shared<AudioParameters>();
  parameters->codecpar.reset(avcodec_parameters_alloc());
  if (parameters->codecpar == nullptr) {
    return absl::ResourceExhaustedError("reading the sound: out of memory");
  }
  AVCodecParameters& codecpar = *parameters->codecpar;
  codecpar.codec_type = AVMEDIA_TYPE_AUDIO;
  codecpar.codec_id = codec->id;
  if (!description.channel_layout.empty() &&
      av_channel_layout_from_string(&codecpar.ch_layout, description.channel_layout.c_str()) < 0) {
    return Malformed("channel_layout", description.channel_layout);
  }
  if (!description.sample_format.empty()) {
    codecpar.format = av_get_sample_fmt(description.sample_format.c_str());
    if (codecpar.format == AV_SAMPLE_FMT_NONE) {
      return Malformed("sample_format", description.sample_format);
    }
  }
  const std::string& extradata = description.extradata;
  if (!extradata.empty()) {
    codecpar.extradata =
        static_cast<uint8_t*>(av_mallocz(extradata.size() + AV_INPUT_BUFFER_PADDING_SIZE));
    if (codecpar.extradata == nullptr) {
      return absl::ResourceExhaustedError("reading the sound: out of memory");
    }
    std::memcpy(codecpar.extradata, extradata.data(), extradata.size());
    codecpar.extradata_size = static_cast<int>(extradata.size());
  }
  codecpar.bit_rate = description.bit_rate;
  codecpar.sample_rate = description.sample_rate;
  codecpar.bits_per_coded_sample = description.bits_per_coded_sample;
  codecpar.bits_per_raw_sample = description.bits_per_raw_sample;
  codecpar.profile = description.profile;
  codecpar.level = description.level;
  codecpar.block_align = description.block_align;
  codecpar.frame_size = description.frame_size;
  codecpar.initial_padding = description.initial_padding;
  codecpar.trailing_padding = description.trailing_padding;
  codecpar.seek_preroll = description.seek_preroll;
  if (!FitsMp4(*track, codecpar)) {
    return absl::InvalidArgumentError(
        absl::StrCat("the sound (", description.codec, ") does not fit MP4"));
  }
  track->codec = description.codec;
  track->sample_rate = codecpar.sample_rate;
  track->channels = codecpar.ch_layout.nb_channels;
  track->parameters = std::move(parameters);
  return absl::OkStatus();
}

}  // namespace reenact
