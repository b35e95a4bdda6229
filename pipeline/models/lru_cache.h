// The values used last, a bounded number of them. Owned by one thread at a time.
#pragma once

#include <cstddef>
#include <list>
#include <utility>

namespace reenact {

// Keys are compared with ==, one after the other: for a few dozen entries. A value stays where it
// is until it is dropped.
template <typename Key, typename Value>
class LruCache {
 public:
  // `capacity`: 1 or more.
  explicit LruCache(size_t capacity) : capacity_(capacity) {}

  // The value of `key`, now the one used last; if there is none, make() becomes it, and the value
  // unused for longest is dropped before if the cache is full. If make() throws, there is none.
  template <typename Make>
  Value& Get(const Key& key, const Make& make) {
    for (auto entry = entries_.begin(); entry != entries_.end(); ++entry) {
      if (entry->first != key) continue;
      entries_.splice(entries_.begin(), entries_, entry);
      return entry->second;
    }
    if (entries_.size() >= capacity_) entries_.pop_back();
    entries_.emplace_front(key, make());
    return entries_.front().second;
  }

  size_t size() const { return entries_.size(); }
  void clear() { entries_.clear(); }

 private:
  const size_t capacity_;
  std::list<std::pair<Key, Value>> entries_;  // the one used last first
};

}  // namespace reenact
