// Package push takes stored readings to those who watch.
//
// A [Feed] keeps the newest readings in memory and wakes who waits for them. A
// [Subscription] is a cursor and a selector, not a queue: [Subscription.Next]
// returns what lies behind the cursor, from the feed or, where that does not
// reach back, from the [History]. A slow viewer therefore costs no memory,
// delays nobody and loses nothing.
//
// Subscriptions with equal selectors share a topic. A topic is woken by device
// and metric, and its subscribers together: at once after a quiet moment, else
// when the gathering time is over, up to one common offset. So they stand at the
// same cursor afterwards and share the [Frame] that the first of them builds from
// readings that are encoded once. A topic remembers which offsets it wants and
// where it long wanted nothing: nobody searches, or misses, what is not wanted.
// Different topics are woken together where they are matched closely behind each other.
//
// Order of locks: Feed.mu before topic.mu. Nothing is called out under either but
// the functions given to [Subscription.Take], which do not block.
package push
