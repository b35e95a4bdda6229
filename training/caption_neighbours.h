// Finds people who are described alike.
#pragma once

#include <cstdint>
#include <random>
#include <string>
#include <vector>

namespace reenact {

class CaptionNeighbours {
 public:
  // Of P people; `captions` [P][phrasing], of which the first counts.
  explicit CaptionNeighbours(const std::vector<std::vector<std::string>>& captions);

  // `count` different people: `person`, then those whose captions share most terms with a half of
  // the terms of that person's own, drawn anew each time, so that over many draws they differ in
  // everything. Leaves out those who are `taken` [P], and marks whom it returns; as many must be
  // left.
  std::vector<int64_t> Draw(int64_t person, int64_t count, std::mt19937_64& random,
                            std::vector<bool>& taken) const;

 private:
  std::vector<std::vector<int64_t>> terms_;   // [P] CaptionTerms(), each once
  std::vector<std::vector<int64_t>> people_;  // [term]: whose caption has it
};

}  // namespace reenact
