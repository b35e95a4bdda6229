// The last answers of a job that were sent, for a caller who may not have got them.
//
// Bounded: the oldest are pushed out when together they take more memory than max_bytes. Not
// thread-safe.
#pragma once

#include <cstdint>
#include <deque>

#include "reenact/v1/reenact.pb.h"

namespace reenact {

class AnswerRing {
 public:
  // What an answer counts for besides its media.
  static constexpr int64_t kAnswerOverheadBytes = 512;

  // 0 bytes: keeps nothing, only counts.
  explicit AnswerRing(int64_t max_bytes) : max_bytes_(max_bytes) {}

  // The numbers of the answers it holds: begin() to end() - 1. end() is also how many there ever
  // were.
  uint64_t begin() const { return end_ - answers_.size(); }
  uint64_t end() const { return end_; }
  // Memory the answers take.
  int64_t bytes() const { return bytes_; }

  // Gives `answer` the number end() and keeps a copy.
  void Push(v1::ReenactResponse& answer);
  // begin() <= number < end().
  const v1::ReenactResponse& at(uint64_t number) const { return answers_[number - begin()]; }
  // Forgets the answers below `number`.
  void DropBefore(uint64_t number);

 private:
  void PopFront();

  const int64_t max_bytes_;
  uint64_t end_ = 0;
  int64_t bytes_ = 0;
  std::deque<v1::ReenactResponse> answers_;
};

}  // namespace reenact
