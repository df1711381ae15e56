package datafee

// The values that stand for what is not known of a transaction.
const (
	SomeNonce = someNonce
	SomeGas   = someGas
	SomeFee   = someFee
	SomeTip   = someTip
)
