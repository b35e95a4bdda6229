#include "pipeline/media/audio_track.h"

extern "C" {
#include <libavcodec/bsf.h>
#include <libavutil/dict.h>
#include <libavutil/mem.h>
}

#include <algorithm>
#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"
#include "pipeline/media/libav.h"

namespace reenact {
namespace {

// Whether MP4 can hold the track: its header and first packet are written to memory and thrown
// away.
bool FitsMp4(const AVCodecParameters& codecpar, AVRational time_base, const AVPacket& first) {
  AVFormatContext* context = nullptr;
  if (avformat_alloc_output_context2(&context, nullptr, "mp4", nullptr) < 0) return false;
  bool fits = false;
  AVStream* stream = avformat_new_stream(context, nullptr);
  LibavPtr<AVPacket> packet(av_packet_clone(&first));
  if (stream != nullptr && packet != nullptr && avio_open_dyn_buf(&context->pb) >= 0) {
    AVDictionary* options = nullptr;
    av_dict_set(&options, "movflags", kMp4Flags, 0);
    av_dict_set(&options, "strict", "experimental", 0);
    avcodec_parameters_copy(stream->codecpar, &codecpar);
    stream->time_base = time_base;
    packet->stream_index = 0;
    fits = avformat_write_header(context, &options) >= 0;
    if (fits) {
      av_packet_rescale_ts(packet.get(), time_base, stream->time_base);
      fits = av_write_frame(context, packet.get()) >= 0;
      fits = av_write_trailer(context) >= 0 && fits;
    }
    av_dict_free(&options);
    uint8_t* bytes = nullptr;
    avio_close_dyn_buf(context->pb, &bytes);
    av_free(bytes);
  }
  context->pb = nullptr;
  avformat_free_context(context);
  return fits;
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

}  // namespace

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
  LibavPtr<AVPacket> first;
  int64_t next_dts = 0;
  // Damage ends the sound where it is; the pictures' reader is the one to complain.
  while (av_read_frame((*demuxer)->context(), packet.get()) >= 0) {
    const bool is_whole = (packet->flags & AV_PKT_FLAG_CORRUPT) == 0;
    if (packet->stream_index == stream->index && packet->size > 0 && is_whole &&
        remover.Apply(codecpar, *packet)) {
      if (packet->dts == AV_NOPTS_VALUE) packet->dts = packet->pts;
      if (packet->dts == AV_NOPTS_VALUE) packet->dts = next_dts + clock_start;
      if (packet->pts == AV_NOPTS_VALUE) packet->pts = packet->dts;
      packet->pts -= clock_start;
      packet->dts -= clock_start;
      // MP4 needs increasing times.
      if (!track.packets.empty()) {
        packet->dts = std::max(packet->dts, track.packets.back().dts + 1);
        packet->pts = std::max(packet->pts, packet->dts);
      }
      if (first == nullptr) first.reset(av_packet_clone(packet.get()));
      AudioPacket copy;
      copy.data.assign(reinterpret_cast<const char*>(packet->data),
                       static_cast<size_t>(packet->size));
      copy.pts = packet->pts;
      copy.dts = packet->dts;
      copy.duration = std::max<int64_t>(packet->duration, 0);
      next_dts = copy.dts + copy.duration;
      track.packets.push_back(std::move(copy));
    }
    av_packet_unref(packet.get());
  }
  if (track.packets.empty()) {
    track.note = absl::StrCat("the audio track (", track.codec, ") holds no packets, left out");
    return track;
  }
  if (!FitsMp4(codecpar, stream->time_base, *first)) {
    track.packets.clear();
    track.note = absl::StrCat("audio codec ", track.codec, " does not fit MP4, left out");
    return track;
  }
  track.parameters = std::move(parameters);
  return track;
}

}  // namespace reenact
