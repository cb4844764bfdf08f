// Package ownership knows which objects and attributes are a topology file's, and which are those of programs that use
// the API. It puts a new version of the file over the State that is served, and says what that does to what programs
// have made. It makes the first State from a store and the file, and has the store keep each State with the text of the
// file, so that the next start knows what the file had stated.
package ownership
