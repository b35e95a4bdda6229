#include "server/answer_ring.h"

#include "server/convert.h"

namespace reenact {
namespace {

int64_t BytesOf(const v1::ReenactResponse& answer) {
  int64_t bytes = AnswerRing::kAnswerOverheadBytes + MediaBytes(answer);
  // The notes of a long clip.
  if (answer.has_summary()) bytes += static_cast<int64_t>(answer.summary().SpaceUsedLong());
  return bytes;
}

}  // namespace

void AnswerRing::Push(v1::ReenactResponse& answer) {
  answer.set_sequence_number(end_++);
  const int64_t bytes = BytesOf(answer);
  // Without the new one the older ones would be of no use: they must have no gap.
  while (!answers_.empty() && bytes_ + bytes > max_bytes_) PopFront();
  if (bytes > max_bytes_) return;
  answers_.push_back(answer);
  bytes_ += bytes;
}

void AnswerRing::DropBefore(uint64_t number) {
  while (!answers_.empty() && begin() < number) PopFront();
}

void AnswerRing::PopFront() {
  bytes_ -= BytesOf(answers_.front());
  answers_.pop_front();
}

}  // namespace reenact
