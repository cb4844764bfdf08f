package router

// An id names an object of a State. The packages below router hold it, but never look inside.
type id string
